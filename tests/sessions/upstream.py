"""Django's own tests of session engines, from the sdist of the installed Django version."""

from __future__ import annotations

import sys
from types import ModuleType

import django
from django.contrib.sessions.backends.db import SessionStore

from tests import upstream


def load() -> ModuleType:
    """Return the test module. Raises UnavailableError."""
    # The module imports this one, which defines a model of an app that is not installed. Only tests
    # of Django's own engine use it.
    neighbour = ModuleType("sessions_tests.models")
    neighbour.SessionStore = SessionStore  # type: ignore[attr-defined]
    sys.modules[neighbour.__name__] = neighbour
    sdist = upstream.sdist("Django", django.__version__)
    return upstream.load(sdist, "tests/sessions_tests/tests.py", "sessions_tests.tests")
