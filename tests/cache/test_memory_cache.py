"""MemoryCache as a backend of CACHES."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.core.cache import BaseCache, caches

from django_persist import Store
from django_persist.cache import MemoryCache
from django_persist.contract.threads import together
from django_persist.exceptions import EncodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import OpenStore

BACKEND = "django_persist.cache.MemoryCache"
START = datetime(2030, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def make_cache(settings: Any) -> Iterator[Callable[..., MemoryCache]]:
    made: list[MemoryCache] = []

    def make(location: str = "tests", **config: Any) -> MemoryCache:
        alias = f"memory {len(made)}"
        config = {"BACKEND": BACKEND, "LOCATION": location, **config}
        settings.CACHES = {**settings.CACHES, alias: config}
        cache = caches[alias]
        assert isinstance(cache, MemoryCache)
        made.append(cache)
        return cache

    yield make
    for cache in made:
        cache.clear()


@pytest.fixture
def cache(make_cache: Callable[..., MemoryCache]) -> MemoryCache:
    return make_cache()


# The API of Django's caches.


def test_set_get_and_delete(cache: BaseCache) -> None:
    assert cache.get("a") is None
    assert cache.get("a", "default") == "default"
    cache.set("a", {"n": [1, None]})
    assert cache.get("a") == {"n": [1, None]}
    assert cache.has_key("a")
    assert "a" in cache
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert "a" not in cache


def test_none_is_a_value(cache: BaseCache) -> None:
    cache.set("a", None)
    assert cache.get("a", "default") is None
    assert "a" in cache
    assert cache.add("a", 1) is False
    assert cache.get_or_set("a", 2) is None


def test_add_stores_only_if_there_is_no_entry(cache: BaseCache) -> None:
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False
    assert cache.get("a") == 1


def test_counters(cache: BaseCache) -> None:
    cache.set("a", 1)
    assert cache.incr("a") == 2
    assert cache.incr("a", 2**70) == 2**70 + 2
    assert cache.decr("a", 2**70) == 2
    assert cache.decr("a") == 1
    assert cache.get("a") == 1
    for call in (cache.incr, cache.decr):
        with pytest.raises(ValueError, match="'missing' not found"):
            call("missing")
    cache.set("text", "1")
    with pytest.raises(TypeError, match="'text' is not an integer"):
        cache.incr("text")
    assert cache.get("text") == "1"


def test_many_keys(cache: BaseCache) -> None:
    assert cache.set_many({"a": 1, "b": 2, "c": None}) == []
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": None}
    cache.delete_many(["a", "d"])
    assert cache.get_many(["a", "b"]) == {"b": 2}


def test_get_or_set(cache: BaseCache) -> None:
    assert cache.get_or_set("a", lambda: 1) == 1
    assert cache.get_or_set("a", lambda: pytest.fail("made")) == 1
    assert cache.get_or_set("b", 2, timeout=60) == 2


def test_versions(cache: BaseCache) -> None:
    cache.set("a", 1)
    cache.set("a", 2, version=2)
    assert (cache.get("a"), cache.get("a", version=2), cache.get("a", version=3)) == (1, 2, None)
    assert cache.incr_version("a", 2) == 3
    assert (cache.get("a"), cache.get("a", version=3)) == (None, 1)
    assert cache.delete("a", version=2)
    assert cache.get("a", version=2) is None


def test_key_prefixes_and_locations_are_kept_apart(make_cache: Callable[..., MemoryCache]) -> None:
    one, other = make_cache(KEY_PREFIX="one"), make_cache(KEY_PREFIX="other")
    elsewhere = make_cache("elsewhere", KEY_PREFIX="one")
    one.set("a", 1)
    assert (other.get("a"), elsewhere.get("a")) == (None, None)
    assert make_cache(KEY_PREFIX="one").get("a") == 1
    one.clear()
    assert one.get("a") is None


# Timeouts.


def test_an_entry_ends_at_its_timeout(cache: BaseCache, clock: time_machine.Traveller) -> None:
    cache.set("a", 1, timeout=0.5)
    cache.add("b", 1, timeout=0.5)
    clock.shift(timedelta(microseconds=499_999))
    assert (cache.get("a"), "b" in cache) == (1, True)
    clock.shift(timedelta(microseconds=2))
    assert (cache.get("a"), "b" in cache) == (None, False)
    assert cache.touch("a") is False
    assert cache.delete("b") is False
    assert cache.add("a", 2) is True
    with pytest.raises(ValueError, match="not found"):
        cache.incr("b")


@pytest.mark.parametrize("timeout", [0, -1, -0.5, float("-inf")])
def test_a_timeout_that_is_not_in_the_future_stores_nothing(
    cache: MemoryCache, timeout: float
) -> None:
    cache.set("a", 1, timeout=timeout)
    assert "a" not in cache
    assert not cache.memory.slots
    cache.set("a", 1)
    cache.set("a", 2, timeout=timeout)
    assert "a" not in cache
    cache.set("a", 1)
    assert cache.touch("a", timeout) is True
    assert "a" not in cache


@pytest.mark.parametrize("timeout", [2**70, float("inf")])
def test_a_timeout_that_is_too_long_lasts_a_thousand_years(
    cache: MemoryCache, clock: time_machine.Traveller, timeout: float
) -> None:
    cache.set("a", 1, timeout)
    clock.shift(timedelta(days=364_999))
    assert cache.get("a") == 1


def test_default_timeout(
    make_cache: Callable[..., MemoryCache], clock: time_machine.Traveller
) -> None:
    cache = make_cache(TIMEOUT=60)
    never = make_cache("never", TIMEOUT=None)
    for each in (cache, never):
        each.set("default", 1)
        each.set("never", 1, timeout=None)
        each.set("touched", 1, timeout=1)
        each.touch("touched", 3600)
    clock.shift(59)
    assert len(cache.get_many(["default", "never", "touched"])) == 3
    clock.shift(2)
    assert list(cache.get_many(["default", "never", "touched"])) == ["never", "touched"]
    assert list(never.get_many(["default", "never", "touched"])) == ["default", "never", "touched"]


def test_incr_keeps_the_timeout(cache: BaseCache, clock: time_machine.Traveller) -> None:
    cache.set("a", 1, timeout=60)
    clock.shift(30)
    cache.incr("a")
    clock.shift(31)
    assert "a" not in cache


def test_a_move_to_another_version_keeps_the_timeout(
    cache: BaseCache, clock: time_machine.Traveller
) -> None:
    cache.set("a", [1], timeout=60)
    clock.shift(30)
    assert cache.incr_version("a") == 2
    assert (cache.get("a"), cache.get("a", version=2)) == (None, [1])
    assert cache.incr_version("a", 0, version=2) == 2
    clock.shift(31)
    assert cache.get("a", version=2) is None
    with pytest.raises(ValueError, match="'a' not found"):
        cache.incr_version("a", version=2)


def test_async_counters_lose_nothing(cache: BaseCache, clock: time_machine.Traveller) -> None:
    async def count() -> None:
        await cache.aset("a", 0, timeout=60)
        await asyncio.gather(*(cache.aincr("a") for _ in range(10)))

    asyncio.run(count())
    assert cache.get("a") == 10
    clock.shift(61)
    assert "a" not in cache


# Values.


def test_changing_a_value_does_not_change_the_entry(cache: BaseCache) -> None:
    value: dict[str, list[int]] = {"list": []}
    cache.set("a", value)
    value["list"].append(1)
    cache.get("a")["list"].append(2)
    assert cache.get("a") == {"list": []}


@pytest.mark.parametrize("call", ["set", "add"])
def test_what_cannot_be_stored_faithfully_is_refused(cache: BaseCache, call: str) -> None:
    with pytest.raises(EncodeError):
        getattr(cache, call)("a", object())
    assert "a" not in cache


# What it shares.


def test_clear_deletes_no_entry_of_a_store(
    make_cache: Callable[..., MemoryCache], open_store: OpenStore
) -> None:
    store: Store = open_store("memory")
    store.set("a", "the store's")
    cache = make_cache("tests")  # the name of the store's memory
    assert cache.get("a") is None
    cache.set("a", "the cache's")
    assert store.get("a") == "the store's"
    cache.clear()
    assert store.get("a") == "the store's"
    cache.set("a", "the cache's")
    store.clear()
    assert cache.get("a") == "the cache's"


def test_threads_share_a_cache(cache: MemoryCache) -> None:
    cache.set("a", 0)

    def work(number: int) -> int:
        mine = caches["memory 0"]
        assert mine is not cache
        for _ in range(200):
            mine.incr("a")
        return sum(mine.add(f"k{i}", number) for i in range(50))

    assert sum(together(work)) == 50
    assert cache.get("a") == 1600
