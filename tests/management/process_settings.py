"""The settings of a command in its own process: those of the test run, as its test changed them."""

from __future__ import annotations

import json
import os
from typing import Any

from tests import settings as _settings

globals().update({name: getattr(_settings, name) for name in dir(_settings) if name.isupper()})

_changed: dict[str, Any] = json.loads(os.environ["PERSIST_TEST_SETTINGS"])
DATABASES = _changed["DATABASES"]
CACHES = _changed["CACHES"]
PERSIST = _changed["PERSIST"]
