"""Settings of a command that runs as a process: those of the test run, with what its test has."""

from __future__ import annotations

import json
import os
from typing import Any

from tests import settings as _of_the_run

globals().update({name: getattr(_of_the_run, name) for name in dir(_of_the_run) if name.isupper()})

_of_the_test: dict[str, Any] = json.loads(os.environ["PERSIST_TEST_SETTINGS"])
DATABASES = _of_the_test["DATABASES"]
CACHES = _of_the_test["CACHES"]
PERSIST = _of_the_test["PERSIST"]
