"""Processes race over expired entries: each is purged once, renewed once, and never lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from django_persist import Store, persist
from django_persist.exceptions import DuplicateKeyError
from tests.conftest import DATABASES, leave_expired
from tests.processes import PROCESSES, race
from tests.races.conftest import ROLLBACK
from tests.races.test_single import KEYS, assert_lifetime, claim, create_each

pytestmark = pytest.mark.usefixtures("way")

OLD = [f"old:{k:03}" for k in range(400)]


def test_one_creator_wins_over_an_expired_entry(shared_store: Store) -> None:
    leave_expired(shared_store, dict.fromkeys(KEYS, "old"))
    won = Counter(key for keys in race(create_each) for key in keys)
    assert won == Counter(KEYS)
    assert "old" not in shared_store.get_many(KEYS).values()


def test_one_of_many_creates_over_an_expired_entry(shared_store: Store) -> None:
    leave_expired(shared_store, dict.fromkeys(KEYS, "old"))
    for outcomes in zip(*race(claim), strict=True):
        [creator] = [i for i, (_, created) in enumerate(outcomes) if created]
        assert {value for value, _ in outcomes} == {creator}


def count_each(i: int) -> list[int]:
    return [persist.incr(key, expires=1000 * (i + 1)) for key in KEYS]


def test_a_counter_that_expired_starts_once_with_one_lifetime(shared_store: Store) -> None:
    leave_expired(shared_store, dict.fromkeys(KEYS, 100))
    for key, sums in zip(KEYS, zip(*race(count_each), strict=True), strict=True):
        assert sorted(sums) == list(range(1, PROCESSES + 1))
        assert_lifetime(shared_store, key, 1000 * (sums.index(1) + 1))


def update_each(i: int) -> None:
    for key in KEYS:
        persist.update(key, lambda values: [*values, i], [], expires=60)


def test_an_update_starts_from_the_default_if_the_entry_has_expired(shared_store: Store) -> None:
    leave_expired(shared_store, {key: ["old"] for key in KEYS})
    race(update_each)
    for values in shared_store.get_many(KEYS).values():
        assert sorted(values) == list(range(PROCESSES))


def renew(way: str, key: str) -> bool:
    """Write a new entry over an expired one; return whether this process did."""
    if way == "create":
        try:
            persist.create(key, 1, expires=60)
        except DuplicateKeyError:
            return False
    elif way == "set":
        persist.set(key, 1, expires=60)
    elif way == "incr":
        return persist.incr(key, expires=60) == 1
    else:
        persist.update(key, lambda value: value, 1, expires=60)
    return True


WAYS = ("create", "set", "incr", "update", "set_many")


def purge_or_renew(i: int) -> list[str]:
    if i < 2:
        for _ in range(5):
            persist.purge(batch_size=50)
        return []
    mine = OLD[i - 2 :: PROCESSES - 2]
    renewed = []
    for start in range(0, len(mine), 5):
        way, keys = WAYS[start // 5 % len(WAYS)], mine[start : start + 5]
        if way == "set_many":
            persist.set_many(dict.fromkeys(keys, 1), expires=60)
            renewed += keys
        else:
            renewed += [key for key in keys if renew(way, key)]
    return renewed


def test_purges_beside_writers_delete_nothing_renewed(shared_store: Store) -> None:
    leave_expired(shared_store, dict.fromkeys(OLD, "old"))
    renewed = [key for keys in race(purge_or_renew) for key in keys]
    assert sorted(renewed) == OLD
    assert shared_store.get_many(OLD) == dict.fromkeys(OLD, 1)


def purge_or_touch(i: int) -> list[str]:
    if i < 2:
        for _ in range(60):
            time.sleep(0.005)
            persist.purge(batch_size=50)
        return []
    mine = OLD[i - 2 :: PROCESSES - 2]
    for n in range(10):
        persist.set_many(dict.fromkeys(mine[n::10], 1), expires=0.1 + n * 0.03)
    touched = []
    for key in mine:
        time.sleep(0.002)
        if persist.touch(key, 60):
            touched.append(key)
    return touched


def test_purges_delete_nothing_that_was_touched_in_time(shared_store: Store) -> None:
    """Entries expire all the time. Those that were touched before that must live on."""
    touched = {key for keys in race(purge_or_touch) for key in keys}
    assert touched
    assert set(shared_store.keys()) == touched


def purge_all(i: int) -> int:
    return persist.purge(batch_size=20)


@pytest.mark.parametrize("database", [*DATABASES, ROLLBACK])
def test_purges_at_once_delete_each_entry_once(
    database: str, open_store: Callable[..., Store], request: pytest.FixtureRequest
) -> None:
    if database == ROLLBACK:
        store = open_store("sqlite", OPTIONS={"using": request.getfixturevalue("rollback_journal")})
    else:
        store = open_store(database)
    leave_expired(store, dict.fromkeys(OLD, "old"))
    store.set("alive", 1, expires=60)
    assert sum(race(purge_all)) == len(OLD)
    assert store.driver.expired() == 0
    assert list(store.keys()) == ["alive"]
