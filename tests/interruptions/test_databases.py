"""The database driver, interrupted by alarms: the next call is right, no write is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections

from django_persist import Store
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import leave_expired
from tests.extent import LONG
from tests.interruptions.alarms import INTERRUPTED, alarms, at_random
from tests.interruptions.conftest import CountInterruptions

ROUNDS = 4_000 if LONG else 80

pytestmark = [pytest.mark.usefixtures("way"), pytest.mark.costly]

HOUR = timedelta(hours=1)
MANY = {f"many {i}": i for i in range(1_200)}

CALLS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("there"),
    "set": lambda store: store.set("there", "value"),
    "incr": lambda store: store.incr("counter"),
    "advance": lambda store: store.driver.advance("time", HOUR, 9 * HOUR),
    "update": lambda store: store.update("list", lambda old: [*old, len(old)], list),
    "set_many": lambda store: store.set_many(MANY),
    "create_many": lambda store: store.create_many({"there": 1, **MANY}),
    "remove_many": lambda store: store.remove_many(MANY),
    "purge": lambda store: store.purge(20),
}
OF_MANY = ("set_many", "create_many", "remove_many")


def elsewhere(store: Store, key: str) -> object:
    """Read on another connection: what the first has committed is there."""
    name = store.driver.using  # type: ignore[attr-defined]
    mine = connections[name]
    connections[name] = mine.copy()
    try:
        return store.get(key)
    finally:
        connections[name].close()
        connections[name] = mine


@pytest.mark.parametrize("name", CALLS)
def test_the_call_after_an_interruption_is_right(
    database_store: Store, name: str, database: str, count_interruptions: CountInterruptions
) -> None:
    store, call = database_store, CALLS[name]
    store.set("there", "value")
    rounds = ROUNDS // 5 if name in OF_MANY else ROUNDS
    if name == "remove_many":
        store.set_many(MANY)
    if name == "purge":
        leave_expired(store, {f"gone {i}": i for i in range(500)})
    started = time.perf_counter()
    call(store)
    call(store)
    typical = (time.perf_counter() - started) / 2
    interruptions = done = 0
    before = store.incr("counter", 0)
    with alarms() as interrupted:
        for number in range(rounds):
            if number % 4 == 0:
                connections[store.driver.using].close()  # type: ignore[attr-defined]
            started = time.perf_counter()
            try:
                result = interrupted(lambda: call(store), at_random(typical))
            except StoreUnavailableError as error:
                # While it resolves a name, psycopg takes any OSError for one about that name.
                assert "failed to resolve host '127.0.0.1': the time limit" in str(error)
                result = INTERRUPTED
            if result is INTERRUPTED:
                interruptions += 1
            else:
                done += 1
                typical = time.perf_counter() - started  # A purge is quick once all is gone.
            store.set("last", number)
            assert store.get("last") == number
            if number % 10 == 0:
                assert elsewhere(store, "last") == number
    assert elsewhere(store, "last") == rounds - 1
    assert interruptions
    assert store.get("there") == "value"
    counted = store.incr("counter", 0) - before
    if name == "incr":
        assert done <= counted <= done + interruptions
    if name != "create_many":  # It creates each key by itself.
        assert store.get_many(MANY) in ({}, MANY)
    values = store.get("list", [])
    assert values == list(range(len(values)))
    assert store.get_item("last").ttl is None  # type: ignore[union-attr]
    count_interruptions("an alarm", database, interruptions)
