"""Processes race at each isolation level: no error outside transactions, none half applied."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import OperationalError, transaction

from django_persist import Store, persist
from django_persist.exceptions import DuplicateKeyError
from tests.aliases import LEVELS, alias, at_level, migrate, sqlite
from tests.conftest import DATABASE_SERVERS, leave_expired
from tests.processes import PROCESSES, race

pytestmark = pytest.mark.usefixtures("way")

ROUNDS = 6
SERVERS = [(server, level) for server in DATABASE_SERVERS for level in LEVELS]
JOURNALS = [
    ("sqlite", f"{journal} {mode}")
    for journal in ("WAL", "DELETE")
    for mode in ("DEFERRED", "IMMEDIATE")
]


def settings(server: str, level: str) -> dict[str, Any]:
    if server == "sqlite":
        journal, mode = level.split()
        init = f"PRAGMA journal_mode={journal}; PRAGMA synchronous=NORMAL"
        return sqlite(init_command=init, transaction_mode=mode)
    found = at_level(server, level)
    if server == "postgresql":
        # By default it looks for deadlocks only after a second.
        found = {**found, "OPTIONS": {**found["OPTIONS"], "options": "-c deadlock_timeout=20ms"}}
    return found


@pytest.fixture
def using(server: str, level: str, django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """An alias with an isolation level for every transaction."""
    with django_db_blocker.unblock(), alias("level", settings(server, level)) as name:
        if server == "sqlite":
            migrate(name)
        yield name


@pytest.fixture
def store(using: str, open_store: Callable[..., Store]) -> Store:
    """A store over that alias."""
    return open_store("sqlite", OPTIONS={"using": using})


def call_all(i: int) -> tuple[int, int]:
    """Make calls of every kind; return how many tickets were put in and taken out."""
    put = taken = 0
    for n in range(ROUNDS):
        persist.incr("counter")
        persist.update("list", lambda values, n=n: [*values, i * 100 + n], [])  # type: ignore[misc]
        persist.get_or_create(f"created:{n}", i)
        persist.incr(f"old:{n}")
        keys = random.sample([f"many:{k}" for k in range(100)], 60)
        persist.set_many(dict.fromkeys(keys, i))
        persist.get_many(keys)
        persist.remove_many(keys[:30])
        persist.touch("counter", None)
        persist.purge(batch_size=10)
        try:
            persist.create("ticket", i)
            put += 1
        except DuplicateKeyError:
            taken += persist.pop("ticket") is not None
    return put, taken


@pytest.mark.parametrize(("server", "level"), [*SERVERS, *JOURNALS])
def test_outside_a_transaction_no_level_makes_an_error(store: Store) -> None:
    leave_expired(store, {f"old:{n}": 100 for n in range(100)})
    outcomes = race(call_all)
    assert store.get("counter") == PROCESSES * ROUNDS
    assert len(set(store.get("list"))) == len(store.get("list")) == PROCESSES * ROUNDS
    assert store.count("created:") == ROUNDS
    assert [store.get(f"old:{n}") for n in range(ROUNDS)] == [PROCESSES] * ROUNDS
    tickets = sum(put - taken for put, taken in outcomes)
    assert tickets == store.count("ticket")


def write_in_transactions(i: int, using: str) -> None:
    """Run each transaction again until it commits."""
    calls: list[Callable[[], Any]] = [
        lambda: persist.incr("first"),
        lambda: persist.update("list", lambda values: [*values, i], []),
        lambda: persist.incr("last"),
    ]
    if i == 0:
        calls.reverse()  # to cause deadlocks
    for n in range(ROUNDS):
        lost, wait = 0, 0.01
        while True:
            try:
                with transaction.atomic(using):
                    persist.get("list")
                    persist.set_many({f"{i}:first": n, f"{i}:last": n})
                    for call in calls:
                        call()
                break
            except OperationalError:
                lost += 1
                assert lost < 100
                time.sleep(random.uniform(0, wait))
                wait = min(2 * wait, 0.3)


@pytest.mark.parametrize(("server", "level"), [*SERVERS, *JOURNALS])
def test_no_transaction_is_half_applied(store: Store) -> None:
    """A call that loses raises. If its transaction is run again as a whole, every sum is right."""
    race(write_in_transactions, "level")
    assert store.get("first") == store.get("last") == PROCESSES * ROUNDS
    assert sorted(store.get("list")) == sorted([*range(PROCESSES)] * ROUNDS)
    for i in range(PROCESSES):
        assert store.get_many([f"{i}:first", f"{i}:last"]) == {
            f"{i}:first": ROUNDS - 1,
            f"{i}:last": ROUNDS - 1,
        }


def swallow_in_transactions(i: int, using: str) -> None:
    """Continue a transaction after a call that lost, which is a mistake."""
    for _ in range(ROUNDS):
        lost = suppress(OperationalError, transaction.TransactionManagementError)
        with lost, transaction.atomic(using):
            persist.get("first")
            for key in random.sample(["first", "middle", "last"], 3):
                with suppress(OperationalError):
                    persist.incr(key)


@pytest.mark.parametrize(("server", "level"), [*SERVERS, *JOURNALS])
def test_a_transaction_that_swallows_an_error_commits_nothing(store: Store) -> None:
    race(swallow_in_transactions, "level")
    counts = store.get_many(["first", "middle", "last"])
    assert len(counts) == 3 and len(set(counts.values())) == 1
