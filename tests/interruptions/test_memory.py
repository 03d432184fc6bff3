"""The memory driver, interrupted at each moment: no other call notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from django_persist import REMOVE, Store
from django_persist.cache import MemoryCache
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import KEEP
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver
from tests.interruptions.conftest import CountInterruptions
from tests.interruptions.moments import each_moment

FILES = ("django_persist/memory.py", "django_persist/drivers/memory.py")

SECOND = timedelta(seconds=1)
KEYS = ("cart", "b", "n", "new", "newer")
CALLS: dict[str, Callable[[Store], object]] = {
    "create": lambda store: store.create("new", 1, expires=2),
    "set new": lambda store: store.set("new", 1, expires=2),
    "set": lambda store: store.set("cart", 1, expires=2),
    "set for never": lambda store: store.set("cart", 1),
    "set KEEP": lambda store: store.set("cart", 1, expires=KEEP),
    "replace": lambda store: store.replace("cart", 1, version_of_old(store)),
    "get_or_create": lambda store: store.get_or_create("new", 1, expires=2),
    "remove": lambda store: store.remove("cart"),
    "remove of a version": lambda store: store.remove("cart", version=version_of_old(store)),
    "touch": lambda store: store.touch("cart", 3),
    "touch for never": lambda store: store.touch("cart", None),
    "pop": lambda store: store.pop("cart"),
    "update": lambda store: store.update("cart", lambda old: [old]),
    "update REMOVE": lambda store: store.update("cart", lambda old: REMOVE),
    "incr": lambda store: store.incr("n", expires=3),
    "incr from nothing": lambda store: store.incr("new", expires=3),
    "incr_with_ttl": lambda store: store.driver.incr_with_ttl("new", 1, 3 * SECOND),
    "advance": lambda store: store.driver.advance("n", SECOND, 3 * SECOND),
    "advance from nothing": lambda store: store.driver.advance("new", SECOND, SECOND),
    "set_many": lambda store: store.set_many({"cart": 1, "b": 2, "new": 3}, expires=2),
    "set_many KEEP": lambda store: store.set_many({"cart": 1, "new": 3}, expires=KEEP),
    "create_many": lambda store: store.create_many({"cart": 1, "new": 3, "newer": 4}, expires=2),
    "remove_many": lambda store: store.remove_many(["cart", "b"]),
    "remove_many of all that expire": lambda store: store.remove_many(["cart", "b", "n"]),
    "clear": lambda store: store.clear("c"),
}


def version_of_old(store: Store) -> str:
    item = store.get_item("cart")
    assert item is not None
    return item.version


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as traveller:
        yield traveller


def filled() -> Store:
    """Make a store in a memory of its own, with entries that expire and one that doesn't."""
    store = Store(OwnMemoryDriver(Memory()))
    store.set("cart", "old", expires=1)
    store.set("b", "old", expires=1)
    store.set("n", 1, expires=5)
    store.set("stays", "stays")
    return store


def memory_of(store: Store) -> Memory:
    assert isinstance(store.driver, MemoryDriver)
    return store.driver.memory


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_written_after_an_interruption_lives_its_own_life(
    clock: time_machine.Traveller,
    call: Callable[[Store], object],
    count_interruptions: CountInterruptions,
) -> None:
    stores: list[Store] = []

    def make_call() -> Callable[[], object]:
        stores.append(filled())
        return lambda: call(stores[-1])

    moments = 0
    for _ in each_moment(make_call, FILES):
        moments += 1
        store = stores[-1]
        assert not memory_of(store).lock.locked()
        for key in KEYS:
            store.set(key, "after")
        moment = time.time()
        clock.shift(10)
        for _ in range(5):
            assert store.get("stays") == "stays"
        assert store.purge() == 0
        assert dict.fromkeys(store.keys()).keys() == {*KEYS, "stays"}
        assert store.get_many(["cart", "b"]) == {"cart": "after", "b": "after"}
        # All that expires is freed, however the index was left.
        store.set_many(dict.fromkeys([*KEYS, "stays"], 1), expires=1)
        clock.shift(10)
        for _ in range(5):
            store.get("other")
        assert memory_of(store).slots == {}
        clock.move_to(moment)
    assert moments > 5
    count_interruptions("an exception at each moment", "memory", moments)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_an_interrupted_call_leaves_is_freed_in_time(
    clock: time_machine.Traveller, call: Callable[[Store], object]
) -> None:
    stores: list[Store] = []

    def make_call() -> Callable[[], object]:
        stores.append(filled())
        return lambda: call(stores[-1])

    for _ in each_moment(make_call, FILES):
        store = stores[-1]
        store.set("late", 1, expires=7)
        never = {key for key, item in store.items() if item.expires_at is None}
        moment = time.time()
        clock.shift(6)
        store.get("other")  # It sweeps, but what expires later has to stay in the index.
        clock.shift(4)
        assert sorted(memory_of(store).expired(time.time_ns() // 1000)) == sorted(
            memory_of(store).slots.keys() - never
        )
        for _ in range(5):
            store.get("other")
        assert memory_of(store).slots.keys() == never
        clock.move_to(moment)


@pytest.mark.parametrize("expires", [2, KEEP, None], ids=repr)
def test_an_interrupted_set_many_stores_all_or_nothing(
    clock: time_machine.Traveller, expires: Any
) -> None:
    stores: list[Store] = []

    def make_call() -> Callable[[], object]:
        stores.append(filled())
        return lambda: stores[-1].set_many({"cart": 1, "b": 2, "new": 3}, expires=expires)

    seen = set()
    for _ in each_moment(make_call, FILES):
        found = stores[-1].get_many(["cart", "b", "new"])
        assert found in ({"cart": "old", "b": "old"}, {"cart": 1, "b": 2, "new": 3})
        seen.add(len(found))
    assert seen == {2, 3}


def test_a_sweep_that_is_interrupted_frees_only_the_expired(
    clock: time_machine.Traveller,
) -> None:
    stores: list[Store] = []

    def make_call() -> Callable[[], object]:
        stores.append(filled())
        clock.shift(3)
        stores[-1].set("cart", "new", expires=60)
        return lambda: stores[-1].get("other")

    for _ in each_moment(make_call, FILES):
        store = stores[-1]
        assert store.get("cart") == "new"
        assert store.get("stays") == "stays"
        clock.shift(100)
        for _ in range(3):
            store.get("other")
        assert memory_of(store).slots.keys() == {"stays"}


CACHE_CALLS: dict[str, Callable[[MemoryCache], object]] = {
    "add": lambda cache: cache.add("new", 1, 2),
    "set": lambda cache: cache.set("cart", 1, 2),
    "set, expired": lambda cache: cache.set("cart", 1, 0),
    "touch": lambda cache: cache.touch("cart", 3),
    "delete": lambda cache: cache.delete("cart"),
    "incr": lambda cache: cache.incr("n"),
    "incr_version": lambda cache: cache.incr_version("cart"),
    "set_many": lambda cache: cache.set_many({"cart": 1, "new": 2}, 2),
    "delete_many": lambda cache: cache.delete_many(["cart", "n"]),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("call", CACHE_CALLS.values(), ids=CACHE_CALLS)
def test_a_cache_in_memory_is_whole_after_an_interruption(
    clock: time_machine.Traveller,
    call: Callable[[MemoryCache], object],
    count_interruptions: CountInterruptions,
) -> None:
    cache = MemoryCache("interrupted", {})

    def make_call() -> Callable[[], object]:
        cache.memory = Memory()
        cache.set_many({"cart": "old", "n": 5}, 1)
        cache.set("stays", "stays", None)
        return lambda: call(cache)

    moments = 0
    for _ in each_moment(make_call, (*FILES, "django_persist/memory_cache.py")):
        moments += 1
        assert not cache.memory.lock.locked()
        if call is CACHE_CALLS["incr_version"]:
            assert "old" in (cache.get("cart"), cache.get("cart", version=2))
        if call is not CACHE_CALLS["clear"]:
            assert cache.get("stays") == "stays"
        for key in ("cart", "n", "new"):
            cache.set(key, "after", 60)
        clock.shift(10)
        for _ in range(5):
            cache.get("other")
        assert cache.get_many(["cart", "n", "new"]) == dict.fromkeys(["cart", "n", "new"], "after")
        # All that expires is freed, however the index was left.
        clock.shift(100)
        for _ in range(5):
            cache.get("other")
        assert len(cache.memory.slots) == ("stays" in cache)
        clock.move_to(datetime(2030, 1, 1, tzinfo=UTC))
    assert moments > 5
    count_interruptions("an exception at each moment", "memory", moments)
