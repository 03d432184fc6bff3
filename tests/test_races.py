"""Processes that race each other: no lost update, one winner, no error that isn't the caller's."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import transaction

from django_persist import Store, persist
from django_persist.exceptions import DuplicateKeyError
from tests.conftest import leave_expired
from tests.processes import PROCESSES, race

KEYS = [f"key:{i}" for i in range(40)]


def create_each(i: int) -> list[str]:
    won = []
    for key in KEYS:
        try:
            persist.create(key, i)
        except DuplicateKeyError:
            continue
        won.append(key)
    return won


def test_one_creator_wins(shared_store: Store) -> None:
    won = Counter(key for keys in race(create_each) for key in keys)
    assert won == Counter(KEYS)


def test_one_creator_wins_over_an_expired_entry(shared_store: Store) -> None:
    leave_expired(shared_store, dict.fromkeys(KEYS, "old"))
    won = Counter(key for keys in race(create_each) for key in keys)
    assert won == Counter(KEYS)
    assert "old" not in shared_store.get_many(KEYS).values()


def count(i: int) -> None:
    for n in range(50):
        persist.incr("counter", n % 3 - 1 or 1)


def test_every_increment_counts(shared_store: Store) -> None:
    race(count)
    assert shared_store.get("counter") == PROCESSES * sum(n % 3 - 1 or 1 for n in range(50))


def add_own(i: int) -> None:
    for n in range(15):
        persist.update("list", lambda numbers, n=n: [*numbers, i * 100 + n], [])  # type: ignore[misc]


def test_no_update_is_lost(shared_store: Store) -> None:
    race(add_own)
    assert sorted(shared_store.get("list")) == [
        i * 100 + n for i in range(PROCESSES) for n in range(15)
    ]


def take_each(i: int) -> list[int]:
    taken = [persist.pop(key) for key in random.sample(KEYS, len(KEYS))]
    return [value for value in taken if value is not None]


def test_each_value_is_popped_once(shared_store: Store) -> None:
    shared_store.set_many({key: i for i, key in enumerate(KEYS)})
    taken = [value for values in race(take_each) for value in values]
    assert sorted(taken) == list(range(len(KEYS)))
    assert shared_store.count() == 0


def claim(i: int) -> list[tuple[int, bool]]:
    return [persist.get_or_create(key, i) for key in KEYS]


def test_one_of_many_creates_and_all_get_its_value(shared_store: Store) -> None:
    for outcomes in zip(*race(claim), strict=True):
        assert sum(created for _, created in outcomes) == 1
        assert len({value for value, _ in outcomes}) == 1


def write_and_remove(i: int) -> None:
    for n in range(12):
        keys = random.sample([f"many:{k}" for k in range(300)], 200)
        if (i + n) % 3 == 0:
            persist.remove_many(keys)
        elif (i + n) % 3 == 1:
            persist.clear("many:")
        else:
            persist.set_many(dict.fromkeys(keys, i), expires=60)


def test_many_keys_in_any_order_meet_without_an_error(shared_store: Store) -> None:
    race(write_and_remove)
    assert set(shared_store.keys("many:")) <= {f"many:{k}" for k in range(300)}


def set_all_to(i: int) -> None:
    for _ in range(15):
        persist.set_many({f"all:{k}": i for k in range(50)})


def test_set_many_is_seen_whole(shared_store: Store) -> None:
    race(set_all_to)
    values = shared_store.get_many([f"all:{k}" for k in range(50)])
    assert len(values) == 50 and len(set(values.values())) == 1


def purge_or_renew(i: int) -> list[str]:
    if i < 2:
        for _ in range(5):
            persist.purge(batch_size=50)
        return []
    renewed = [f"old:{k}" for k in range(i, 400, PROCESSES)]
    for key in renewed:
        persist.set(key, "new", expires=60)
    return renewed


def test_purges_beside_writers_delete_nothing_renewed(shared_store: Store) -> None:
    leave_expired(shared_store, {f"old:{k}": "old" for k in range(400)})
    renewed = {key for keys in race(purge_or_renew) for key in keys}
    assert {key for key, item in shared_store.items() if item.value == "new"} == renewed


def write_or_remove_in_transactions(i: int, using: str) -> None:
    for _ in range(25):
        keys = random.sample([f"many:{k}" for k in range(300)], 200)
        with transaction.atomic(using):
            if i % 2:
                persist.remove_many(keys)
            else:
                persist.set_many(dict.fromkeys(keys, i))


@pytest.mark.parametrize("database", ["postgresql"])
def test_many_keys_are_locked_in_one_order(database: str, open_store: Callable[..., Store]) -> None:
    """Inside a transaction nothing is tried again: a deadlock would be told.

    MariaDB can't promise as much: its inserts lock gaps between keys as well.
    """
    store = open_store(database)
    race(write_or_remove_in_transactions, database)
    assert set(store.keys()) <= {f"many:{k}" for k in range(300)}
