"""Processes race with calls for many keys: each is applied as a whole, in any order of keys."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from django.db import transaction

from django_persist import Store, persist
from tests.processes import PROCESSES, race

MANY = [f"many:{i}" for i in range(300)]


def write_and_remove(i: int) -> None:
    for n in range(12):
        keys = random.sample(MANY, 200)
        persist.set_many({f"many{i}:{key}": n for key in keys[:10]})  # which no process clears
        if (i + n) % 3 == 0:
            persist.remove_many(keys)
        elif (i + n) % 3 == 1:
            persist.clear("many:")
        else:
            persist.set_many(dict.fromkeys(keys, i), expires=60)


def test_many_keys_in_any_order_meet_without_an_error(shared_store: Store) -> None:
    race(write_and_remove)
    assert set(shared_store.keys("many:")) <= set(MANY)
    for i in range(PROCESSES):
        last = [item.value for _, item in shared_store.items(f"many{i}:")]
        assert len(last) >= 10 and last.count(11) == 10


def set_all_to(i: int) -> None:
    for _ in range(15):
        persist.set_many({f"all:{k}": i for k in random.sample(range(50), 50)})


def test_set_many_is_applied_as_a_whole(shared_store: Store) -> None:
    race(set_all_to)
    values = shared_store.get_many([f"all:{k}" for k in range(50)])
    assert len(values) == 50 and len(set(values.values())) == 1


def set_or_remove_all(i: int) -> None:
    for _ in range(15):
        keys = random.sample(MANY, len(MANY))
        if i % 2:
            persist.remove_many(keys)
        else:
            persist.set_many(dict.fromkeys(keys, i))


def test_set_many_and_remove_many_are_applied_as_a_whole(shared_store: Store) -> None:
    race(set_or_remove_all)
    values = shared_store.get_many(MANY)
    assert len(values) in (0, len(MANY)) and len(set(values.values())) <= 1


LARGE = [f"large:{k}" for k in range(6)]


def set_in_chunks(i: int) -> list[set[str]]:
    """Write more than fits into one statement; process 0 reads it in one."""
    if i == 0:
        return [{value[0] for value in persist.get_many(LARGE).values()} for _ in range(60)]
    for _ in range(10):
        persist.set_many({key: str(i) * 60_000 for key in random.sample(LARGE, len(LARGE))})
    return []


def test_set_many_in_several_statements_is_one_step(shared_store: Store) -> None:
    shared_store.set_many(dict.fromkeys(LARGE, "0"))
    [seen, *_] = race(set_in_chunks)
    assert [values for values in seen if len(values) != 1] == []
    assert len({value[0] for value in shared_store.get_many(LARGE).values()}) == 1


def move_on(i: int) -> None:
    """Remove and set the same keys, singly and many at once."""
    for n in range(12):
        keys = random.sample(MANY[:30], 20)
        if i % 3 == 0:
            for key in keys:
                persist.set(key, n)
        elif i % 3 == 1:
            persist.set_many(dict.fromkeys(keys, n))
        else:
            for key in keys[:5]:
                persist.pop(key)
            persist.remove_many(keys[5:])


@pytest.mark.usefixtures("way")
def test_one_key_and_many_meet_without_an_error(shared_store: Store) -> None:
    race(move_on)
    assert set(shared_store.keys()) <= set(MANY[:30])


def write_or_remove_in_transactions(i: int, using: str) -> None:
    for _ in range(25):
        keys = random.sample(MANY, 200)
        with transaction.atomic(using):
            if i % 2:
                persist.remove_many(keys)
            else:
                persist.set_many(dict.fromkeys(keys, i))


@pytest.mark.parametrize("database", ["postgresql"])
def test_many_keys_are_locked_in_one_order(database: str, open_store: Callable[..., Store]) -> None:
    """Inside a transaction nothing is tried again, so a deadlock would raise.

    MariaDB can't promise as much: its inserts lock gaps between keys as well.
    """
    store = open_store(database)
    race(write_or_remove_in_transactions, database)
    assert set(store.keys()) <= set(MANY)
