"""Django's own tests of session engines, on each server."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.test import SimpleTestCase

from django_persist.sessions import SessionStore
from tests.conftest import BACKENDS, MISSING, OpenStore
from tests.sessions.upstream import load
from tests.upstream import UnavailableError

try:
    django_tests = load()
except UnavailableError as error:
    if "CI" in os.environ:
        raise
    pytest.skip(str(error), allow_module_level=True)

ENGINE = "django_persist.sessions"


class OnAServer:
    """Opens the store of a server as the default store, which keeps the sessions."""

    server: str

    @pytest.fixture(autouse=True)
    def open(self, open_store: OpenStore, settings: Any) -> None:
        settings.SESSION_ENGINE = ENGINE
        open_store(self.server)


class Saved:
    """Replaces the model of Django's database engine, which a test uses to read what was saved."""

    class objects:  # noqa: N801
        @staticmethod
        def get(session_key: str) -> Saved:
            return Saved(session_key)

    def __init__(self, session_key: str) -> None:
        self.session_key = session_key

    def get_decoded(self) -> dict[str, Any]:
        assert SessionStore().exists(self.session_key)
        return SessionStore(self.session_key).load()


# One test of the middleware reads Django's table. Another uses Django's engine by name.
assert django_tests.DatabaseSession is DatabaseSession
django_tests.DatabaseSession = SessionStore  # type: ignore[attr-defined]
django_tests.Session = Saved  # type: ignore[attr-defined]

for server in BACKENDS:
    if server in MISSING:
        continue
    common = {"server": server, "databases": "__all__", "__module__": __name__}
    engine = {
        "backend": SessionStore,
        # The only test of Django's cache engine that applies to every engine.
        "test_load_overlong_key": django_tests.CacheSessionTests.test_load_overlong_key,
    }
    mixin, middleware = django_tests.SessionTestsMixin, django_tests.SessionMiddlewareTests
    for name, bases, more in (
        (f"TestEngineOn_{server}", (OnAServer, mixin, SimpleTestCase), engine),
        (f"TestMiddlewareOn_{server}", (OnAServer, middleware), {}),
    ):
        globals()[name] = type(name, bases, {**common, **more})
del mixin, middleware


def test_all_upstream_tests_are_run() -> None:
    """Without this, a rename in a later Django would leave this module empty unnoticed."""
    engine = globals()["TestEngineOn_sqlite"]
    assert sum(name.startswith("test_") for name in dir(engine)) > 60
    assert sum(name.startswith("test_") for name in dir(globals()["TestMiddlewareOn_sqlite"])) > 10
