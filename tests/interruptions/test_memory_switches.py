"""The memory driver, with another thread's call at each moment of a call: one comes first.

Threads that race meet such a moment once in thousands of calls. Here each is tried: a switch to
another thread is a call of what that thread would call. Where the first call holds the lock, the
other thread would wait, so only reads, which take no lock, are tried there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine

from django_persist import KEEP, REMOVE, Store
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import PersistError
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver
from tests.interruptions.moments import switched_at

pytestmark = pytest.mark.costly

FILES = ("django_persist/memory.py", "django_persist/drivers/memory.py")

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY_MICROS = 86_400_000_000

Call = Callable[[Store], object]

READS: dict[str, Call] = {
    "get": lambda store: store.get("cart"),
    "get_item": lambda store: store.get_item("gone"),
    "contains": lambda store: "cart" in store,
}
WRITES: dict[str, Call] = {
    "create": lambda store: store.create("new", "created", expires=2),
    "create over the expired": lambda store: store.create("gone", "created"),
    "set": lambda store: store.set("cart", "set", expires=2),
    "set in the same second": lambda store: store.set("cart", "again", expires=1),
    "set for never": lambda store: store.set("cart", "permanent"),
    "set KEEP": lambda store: store.set("cart", "kept", expires=KEEP),
    "remove": lambda store: store.remove("cart"),
    "touch": lambda store: store.touch("cart", 3),
    "touch for never": lambda store: store.touch("cart", None),
    "pop": lambda store: store.pop("cart"),
    "update": lambda store: store.update("cart", lambda old: [old]),
    "update REMOVE": lambda store: store.update("cart", lambda old: REMOVE, "default"),
    "incr": lambda store: store.incr("n"),
    "incr from nothing": lambda store: store.incr("new", 10, expires=3),
    "get_many": lambda store: store.get_many(["cart", "b", "new"]),
    "set_many": lambda store: store.set_many({"cart": 1, "b": 2, "new": 3}, expires=2),
    "set_many KEEP": lambda store: store.set_many({"cart": 1, "new": 3}, expires=KEEP),
    "create_many": lambda store: store.driver.create_many(
        [("new", b"1", None), ("cart", b"2", timedelta(seconds=2)), ("gone", b"3", None)]
    ),
    "remove_many": lambda store: store.remove_many(["cart", "b"]),
    "purge": lambda store: store.purge(),
    "expired": lambda store: store.driver.expired(),
}
CALLS = READS | WRITES


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def memory_of(store: Store) -> Memory:
    assert isinstance(store.driver, MemoryDriver)
    return store.driver.memory


def filled(clock: time_machine.Traveller) -> Store:
    """Make a store in a memory of its own, with entries that expire and some that have."""
    store = Store(OwnMemoryDriver(Memory()))
    clock.move_to(START)
    # Two that the next call sweeps, and one that it doesn't, as its second is not over.
    store.set_many({"gone": "old", "gone too": "old"}, expires=1)
    store.set("expired", "old", expires=3.2)
    store.set_many({"cart": "old", "b": "old"}, expires=4.5)
    store.set("n", 1, expires=8.5)
    clock.move_to(START + timedelta(seconds=3.5))
    return store


def run(call: Call, store: Store) -> object:
    """Return what a call returns, or which error of ours it raises."""
    try:
        return call(store)
    except PersistError as error:
        return type(error)


def state(store: Store) -> dict[str, Any]:
    """Return the live entries. The index must find all those that expire, in time."""
    memory = memory_of(store)
    mortal = {key for key, slot in memory.slots.items() if slot.expires_at is not None}
    later = int(START.timestamp()) * 1_000_000 + DAY_MICROS
    assert sorted(memory.expired(later)) == sorted(mortal)
    return dict(store.items())


def in_either_order(clock: time_machine.Traveller, call: Call, other: Call) -> list[object]:
    """Return, for both orders of two calls, what each returns and what they leave."""
    store = filled(clock)
    first = run(call, store), run(other, store), state(store)
    store = filled(clock)
    second = run(other, store), run(call, store), state(store)
    return [first, (second[1], second[0], second[2])]


@pytest.mark.parametrize("name", CALLS)
def test_two_calls_are_one_after_the_other_wherever_threads_switch(
    clock: time_machine.Traveller, name: str
) -> None:
    for other in CALLS:
        expected = in_either_order(clock, CALLS[name], CALLS[other])
        switches = 0
        for moment, outcome in enumerate(each_switch(clock, name, other), 1):
            if outcome is not None:
                switches += 1
                assert outcome in expected, f"{other!r} at moment {moment}"
        assert switches, other


@pytest.mark.parametrize("name", WRITES)
def test_a_write_waits_for_the_lock(clock: time_machine.Traveller, name: str) -> None:
    store = filled(clock)
    memory = memory_of(store)
    with ThreadPoolExecutor(1) as pool:
        with memory.lock:
            before = dict(memory.slots)
            running = pool.submit(run, WRITES[name], store)
            with pytest.raises(TimeoutError):
                running.result(timeout=0.05)
            assert memory.slots == before
        running.result(timeout=10)


def each_switch(clock: time_machine.Traveller, name: str, other: str) -> Iterator[object]:
    """Make a call with another at its first moment, the second, ...; yield their outcome.

    Yield None where the other call would wait for the lock.
    """
    moment, is_switched = 1, True
    while is_switched:
        store = filled(clock)
        lock = memory_of(store).lock
        others: list[object] = []

        def switch(store: Store = store, others: list[object] = others) -> None:
            if other in READS or not memory_of(store).lock.locked():
                others.append(run(CALLS[other], store))

        result, is_switched = switched_at(moment, partial(run, CALLS[name], store), FILES, switch)
        assert not lock.locked()
        yield (result, others[0], state(store)) if others else None
        moment += 1
