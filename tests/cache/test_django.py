"""Django's own tests of cache backends, from the sdist of the installed version, on our caches."""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Iterable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import django
import pytest
from django.test import SimpleTestCase

from tests import upstream
from tests.cache.conftest import BACKEND, Elapse
from tests.conftest import OpenStore

SERVERS = ("sqlite", "postgresql", "memory", "valkey")
PERSIST = BACKEND
MEMORY = "django_persist.cache.MemoryCache"

PICKLED = "a value that only pickle can store"
MODEL = "a model instance, which only pickle can store: test_persist_cache.py has one"
CULLED = "nothing is ever evicted, and OPTIONS are refused"
WARNED = "no key is refused or warned of: a store can hold any"

REFUSED = {
    "test_add_fail_on_pickleerror": "raises EncodeError, not PickleError",
    "test_binary_string": PICKLED,
    "test_cache_read_for_model_instance": MODEL,
    "test_cache_read_for_model_instance_with_deferred": MODEL,
    "test_cache_write_for_model_instance_with_deferred": MODEL,
    "test_cache_write_unpicklable_object": f"{PICKLED}: an HttpResponse",
    "test_cull": CULLED,
    "test_cull_delete_when_store_empty": CULLED,
    "test_data_types": f"{PICKLED}: a function, a class and a tuple",
    "test_invalid_key_characters": WARNED,
    "test_invalid_key_length": WARNED,
    "test_invalid_with_version_key_length": WARNED,
    "test_set_fail_on_pickleerror": "raises EncodeError, not PickleError",
    "test_zero_cull": CULLED,
}
"""The tests that fail, and why. The others pass."""

# MemoryCache warns of keys as Django's backends do, and ignores the OPTIONS of culling.
MEMORY_REFUSED = {
    test: why
    for test, why in REFUSED.items()
    if why != WARNED and test != "test_cull_delete_when_store_empty"
}


def load() -> ModuleType:
    """Return Django's tests. Raises UnavailableError."""
    # The module imports this one, which defines a model of an app that is not installed. Only
    # tests of model instances use it.
    neighbour = ModuleType("cache.models")
    neighbour.Poll = neighbour.expensive_calculation = None  # type: ignore[attr-defined]
    sys.modules[neighbour.__name__] = neighbour
    sdist = upstream.sdist("Django", django.__version__)
    return upstream.load(sdist, "tests/cache/tests.py", "cache.tests")


try:
    django_tests = load()
except upstream.UnavailableError as error:
    if "CI" in os.environ:
        raise
    pytest.skip(str(error), allow_module_level=True)

SETTINGS = django_tests.caches_setting_for_tests()
"""The aliases of CACHES that the tests use, without a backend."""


@pytest.fixture
def on_clock(elapse: Elapse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Django's tests move the clock where they sleep."""
    monkeypatch.setattr(django_tests, "time", SimpleNamespace(sleep=elapse))


class OnAStore:
    """Makes a PersistCache, over the store of a server, of each alias that the tests use."""

    server: ClassVar[str]

    @pytest.fixture(autouse=True)
    def open(self, open_store: OpenStore, settings: Any, on_clock: None) -> None:
        open_store(self.server)
        settings.CACHES = use(settings.CACHES, PERSIST, "default")


class InMemory:
    """Makes a MemoryCache of each alias that the tests use."""

    @pytest.fixture(autouse=True)
    def open(self, open_store: OpenStore, settings: Any, on_clock: None) -> None:
        open_store("memory")  # It goes by the same clock.
        settings.CACHES = use(settings.CACHES, MEMORY, "of Django's tests")


def use(aliases: dict[str, Any], backend: str, location: str) -> dict[str, Any]:
    ours = {"BACKEND": backend, "LOCATION": location}
    return {**aliases, **{alias: {**config, **ours} for alias, config in SETTINGS.items()}}


mixin = django_tests.BaseCacheTests
common = {"databases": "__all__", "__module__": __name__}
for server in SERVERS:
    name, more = f"TestPersistCacheOn_{server}", {"server": server, **dict.fromkeys(REFUSED)}
    globals()[name] = type(name, (OnAStore, mixin, SimpleTestCase), {**common, **more})
TestMemoryCache = type(
    "TestMemoryCache",
    (InMemory, mixin, SimpleTestCase),
    {**common, **dict.fromkeys(MEMORY_REFUSED)},
)


def passing(names: Iterable[str]) -> list[str]:
    """Return which of Django's tests pass now."""
    case = type("Refused", (mixin, SimpleTestCase), common)
    results = {name: unittest.TestResult() for name in names}
    for name, result in results.items():
        case(name).run(result)
    return [
        name for name, result in results.items() if result.wasSuccessful() and not result.skipped
    ]


@pytest.mark.parametrize("server", SERVERS)
def test_no_test_on_the_list_would_pass(server: str, open_store: OpenStore, settings: Any) -> None:
    open_store(server)
    settings.CACHES = use(settings.CACHES, PERSIST, "default")
    assert passing(REFUSED) == []


def test_no_test_on_the_list_of_memory_cache_would_pass(settings: Any) -> None:
    settings.CACHES = use(settings.CACHES, MEMORY, "of Django's tests")
    assert passing(MEMORY_REFUSED) == []


def test_all_upstream_tests_are_run() -> None:
    """Without this, a rename in a later Django would leave this module empty unnoticed."""
    tests = {name for name in dir(mixin) if name.startswith("test_")}
    assert tests > REFUSED.keys()
    assert len(tests) > 50
