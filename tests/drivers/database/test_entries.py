"""What the statements of each database must not take for each other: keys, and moments."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import time_machine

from django_persist import Key, Store

MANY = 1500
"""More than a page of keys has."""


def test_pages_follow_the_keys_whatever_the_expiries(database_store: Store) -> None:
    mapping = {f"key:{n:04}": n for n in range(MANY)}
    database_store.set_many({Key(key, expires=9000 - n): n for key, n in mapping.items()})
    assert list(database_store.keys()) == list(mapping)
    assert {key: item.value for key, item in database_store.items()} == mapping


def test_a_purge_leaves_what_expires_in_the_next_second(database_store: Store) -> None:
    start = datetime.fromtimestamp(int(time.time()), UTC)
    with time_machine.travel(start, tick=False) as clock:
        database_store.set("gone", 1, expires=0.2)
        database_store.set("alive", 1, expires=0.7)
        clock.shift(0.5)
        assert database_store.driver.expired() == 1
        assert database_store.purge() == 1
        assert list(database_store.keys()) == ["alive"]


def test_a_key_may_be_given_twice(database_store: Store) -> None:
    twice: dict[str | Key[Any], int] = {"a": 1, Key("a"): 2, "b": 3}
    database_store.set_many(twice)
    assert database_store.get_many(["a", "b"]) == {"a": 2, "b": 3}
    database_store.clear()
    assert database_store.create_many(twice) == [Key("a")]
    assert database_store.get_many(["a", "b"]) == {"a": 1, "b": 3}


def test_an_entry_is_gone_at_its_moment(database_store: Store) -> None:
    with time_machine.travel(datetime(2040, 1, 1, tzinfo=UTC), tick=False) as clock:
        database_store.set("key", 1, expires=60)
        clock.shift(59.999999)
        assert (database_store.get("key"), "key" in database_store) == (1, True)
        clock.move_to(datetime(2040, 1, 1, 0, 1, tzinfo=UTC))
        assert database_store.get("key") is None
        assert database_store.get_item("key") is None
        assert "key" not in database_store
        assert database_store.get_many(["key"]) == {}
        assert not database_store.touch("key", 60)
        assert database_store.incr("key") == 1
