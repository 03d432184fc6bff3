"""Runs a library's own tests with a PersistCache as its cache: run_library.py LIBRARY STORE.

Runs in the folder of the library's sdist, in a process of its own: some libraries have a package
"tests" as we do. Prints, as JSON, how many tests ran, and the names of those that didn't pass.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import time_machine
from django.conf import settings
from django.test.runner import DiscoverRunner

DRIVERS = "django_persist.drivers"
STORES: dict[str, dict[str, Any]] = {
    "database": {"BACKEND": f"{DRIVERS}.database.DatabaseDriver"},
    "memory": {"BACKEND": f"{DRIVERS}.memory.MemoryDriver"},
    "valkey": {"BACKEND": f"{DRIVERS}.redis.RedisDriver", "OPTIONS": {"cache": "valkey"}},
    "down": {"BACKEND": f"{DRIVERS}.redis.RedisDriver", "OPTIONS": {"cache": "down"}},
}
PERSIST_CACHE = {"BACKEND": "django_persist.cache.PersistCache", "LOCATION": "default"}
REDIS_CACHE = {
    "BACKEND": "django.core.cache.backends.redis.RedisCache",
    "KEY_PREFIX": f"library {os.getpid()}",
}
CACHES: dict[str, dict[str, Any]] = {
    "default": PERSIST_CACHE,
    "valkey": {**REDIS_CACHE, "LOCATION": os.environ["PERSIST_TEST_VALKEY"]},
    "down": {**REDIS_CACHE, "LOCATION": "redis://127.0.0.1:1"},
    # Names that django-ratelimit's tests use.
    "connection-errors": {**PERSIST_CACHE, "LOCATION": "down"},
    "connection-errors-redis": {**PERSIST_CACHE, "LOCATION": "down"},
    "instant-expiration": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
COMMON: dict[str, Any] = {
    "SECRET_KEY": "of the tests",
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    "USE_TZ": True,
}
AUTH = ["django.contrib.auth", "django.contrib.contenttypes"]


TESTS = {
    "django-axes": [
        "tests.test_login.CacheLoginTestCase",
        "tests.test_handlers.AxesCacheHandlerTestCase",
        "tests.test_handlers.ResetAttemptsCacheHandlerTestCase",
    ],
    "django-ratelimit": ["django_ratelimit.tests"],
    "djangorestframework": ["tests.test_throttling"],
}


def settings_of(library: str) -> dict[str, Any]:
    """Return the settings with which the library runs its tests, but for the cache."""
    if library == "django-axes":
        theirs = vars(import_module("tests.settings"))
        return {name: value for name, value in theirs.items() if name.isupper()}
    if library == "djangorestframework":
        return {**COMMON, "INSTALLED_APPS": [*AUTH, "rest_framework"]}
    return {**COMMON, "INSTALLED_APPS": ["django_ratelimit"]}


def adapt_axes() -> None:
    """Let two tests count the entries in the store: they look into LocMemCache."""
    tests, helpers = import_module("tests.test_login"), import_module("axes.helpers")
    tests.CacheLoginTestCase.attempt_count = lambda self: helpers.get_cache().store.count()


def main(library: str, store: str) -> None:
    sys.path.insert(0, str(Path.cwd()))
    given = settings_of(library)
    given["INSTALLED_APPS"] = [*given["INSTALLED_APPS"], "django_persist"]
    persist = {"default": STORES[store], "down": STORES["down"]}
    settings.configure(**{**given, "CACHES": CACHES, "PERSIST": persist})
    with time_machine.travel(time.time(), tick=True) as clock:
        if store != "valkey":
            # Tests import it by name.
            time.sleep = clock.shift  # type: ignore[assignment]
        django.setup()
        if library == "django-axes":
            adapt_axes()
        runner = DiscoverRunner(verbosity=0, interactive=False)
        runner.setup_test_environment()
        databases = runner.setup_databases()
        result = runner.run_suite(runner.build_suite(TESTS[library]))
        runner.teardown_databases(databases)
    left = [test.id() for test, _ in [*result.failures, *result.errors, *result.skipped]]
    sys.stdout.write(json.dumps({"run": result.testsRun, "not passed": sorted(left)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
