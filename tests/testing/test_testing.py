"""`override_persist` as a context manager and decorator."""

from __future__ import annotations

import asyncio
import gc
import inspect
import unittest
import weakref
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from django_persist import Store, persist, stores
from django_persist.contract.threads import together
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import ValueTooLargeError
from django_persist.middleware import PersistMiddleware
from django_persist.testing import override_persist
from tests.conftest import BACKENDS

PERSIST = {
    "default": BACKENDS["memory"],
    "hot": {**BACKENDS["valkey"], "PREFIX": "h:", "DEFAULT_EXPIRES": 60, "MAX_VALUE_BYTES": 9},
    # What override_persist replaces doesn't need to exist.
    "cold": {"BACKEND": "no.such.Driver", "OPTIONS": {"using": "nothing"}},
}


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    settings.PERSIST = PERSIST


def test_every_store_is_replaced_by_an_empty_one_in_memory(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["memory"], "hot": PERSIST["hot"]}
    persist.set("a", "the project's")
    settings.PERSIST = PERSIST
    with override_persist() as store:
        assert store is stores["default"]
        assert list(stores) == ["default", "hot", "cold"]
        for alias in stores:
            assert isinstance(stores[alias].driver, MemoryDriver)
            assert list(stores[alias].items()) == []
            stores[alias].set("a", alias)
        assert [stores[alias].get("a") for alias in stores] == list(stores)
        assert persist.get("a") == "default"
    settings.PERSIST = {"default": BACKENDS["memory"]}
    assert persist.pop("a") == "the project's"


def test_settings_of_a_store_are_kept() -> None:
    with override_persist():
        hot = stores["hot"]
        assert hot.place().prefix == "h:"
        with pytest.raises(ValueTooLargeError):
            hot.set("a", "ten letters")
        hot.set("a", 1)
        item = hot.get_item("a")
        assert item is not None
        assert item.ttl is not None
        assert timedelta(seconds=50) < item.ttl <= timedelta(minutes=1)


def test_only_the_named_stores_are_replaced(settings: Any) -> None:
    settings.PERSIST = {name: PERSIST[name] for name in ("default", "hot")}
    before = stores["default"].place()
    with override_persist("hot") as store:
        assert store.place() == before
        assert isinstance(stores["hot"].driver, MemoryDriver)


def test_unknown_alias_is_an_error(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["memory"], "hot": BACKENDS["valkey"]}
    with pytest.raises(ImproperlyConfigured, match="no store 'hto'. Did you mean 'hot'"):
        override_persist("hot", "hto").enable()
    assert not isinstance(stores["hot"].driver, MemoryDriver)


@pytest.mark.parametrize("invalid", [{"default": 5}, {"default": {"PREFIX": 5}}, {}, 5])
def test_invalid_settings_are_an_error(settings: Any, invalid: Any) -> None:
    settings.PERSIST = invalid
    with pytest.raises(ImproperlyConfigured, match="PERSIST"), override_persist():
        pass
    settings.PERSIST = {"default": BACKENDS["valkey"]}
    assert not isinstance(stores["default"].driver, MemoryDriver)


def test_nested_override_starts_empty_and_restores_the_outer_one() -> None:
    with override_persist() as outer:
        outer.set("a", "outer")
        with override_persist() as inner:
            assert inner.get("a") is None
            inner.set("a", "inner")
        assert persist.get("a") == "outer"


def test_other_settings_can_change_inside() -> None:
    with override_persist() as store:
        store.set("a", 1)
        with override_settings(CACHES={}):
            assert persist.get("a") == 1
        with override_settings(PERSIST={"default": {**BACKENDS["memory"], "PREFIX": "x:"}}):
            assert persist.get("a") is None
        assert persist.get("a") == 1


def test_threads_and_requests_see_the_override() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.persist.incr("visits")))  # type: ignore[attr-defined]

    with override_persist() as store:
        together(lambda number: persist.incr("visits"))
        response = PersistMiddleware(view)(RequestFactory().get("/"))
        assert isinstance(response, HttpResponse)
        assert (response.content, store.get("visits")) == (b"9", 9)


def test_memory_is_freed() -> None:
    with override_persist() as store:
        store.set("a", 1)
        memory = weakref.ref(store.driver.memory)  # type: ignore[attr-defined]
    del store
    gc.collect()
    assert memory() is None


@override_persist()
def decorated(more: int, *, again: bool = True) -> tuple[int, Store]:
    """Count the calls, also in a nested call of itself."""
    assert persist.incr("calls") == 1
    if again:
        assert decorated(more, again=False)[0] == more
        assert persist.incr("calls") == 2
    return more, stores["default"]


def test_decorated_function_gets_new_stores_on_each_call() -> None:
    assert decorated.__doc__ == "Count the calls, also in a nested call of itself."
    first, second = decorated(7), decorated(more=8)
    assert (first[0], second[0]) == (7, 8)
    assert first[1] is not second[1]


def test_stores_are_restored_after_an_exception() -> None:
    @override_persist()
    def fails() -> None:
        persist.set("a", 1)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fails()
    with override_persist() as store:
        assert store.count() == 0


def test_async_function_has_its_own_stores_until_it_ends() -> None:
    @override_persist()
    async def count() -> int:
        await asyncio.sleep(0)
        await sync_to_async(persist.incr)("calls")
        return persist.incr("calls")

    assert inspect.iscoroutinefunction(count)
    assert [asyncio.run(count()) for _ in range(2)] == [2, 2]


@pytest.mark.parametrize("decorator", [override_persist, lambda f: override_persist("hot", f)])
def test_decorator_without_parentheses_is_an_error(decorator: Any) -> None:
    with pytest.raises(TypeError, match=r"@override_persist\(\)"):
        decorator(lambda: None)


def test_class_that_is_not_a_test_case_is_an_error() -> None:
    with pytest.raises(TypeError, match="fixture `persist`"):

        @override_persist()
        class TestOfPytest:
            pass


@pytest.mark.parametrize("how", ["run", "debug"])
def test_single_test_has_its_own_stores(how: str) -> None:
    @override_persist()
    class Case(unittest.TestCase):
        def test(self) -> None:
            assert persist.incr("calls") == 1

    for _ in range(2):
        getattr(Case("test"), how)()


def test_failed_class_setup_restores_the_stores(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["memory"]}

    @override_persist()
    class Case(unittest.TestCase):
        @classmethod
        def setUpClass(cls) -> None:
            raise ZeroDivisionError

        def test(self) -> None: ...

    before = persist.place()
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert len(result.errors) == 1
    assert persist.place() == before
