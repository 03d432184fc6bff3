"""The settings of a command in its own process: those of its test, and no more apps than it needs.

Each further app would make the process start later.
"""

from __future__ import annotations

import json
import os
from typing import Any

SECRET_KEY = "of the tests"
USE_TZ = True
INSTALLED_APPS = ["django_persist"]

_settings: dict[str, Any] = json.loads(os.environ["PERSIST_TEST_SETTINGS"])
DATABASES = _settings["DATABASES"]
CACHES = _settings["CACHES"]
PERSIST = _settings["PERSIST"]
