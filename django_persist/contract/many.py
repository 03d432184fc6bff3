"""get_many, set_many, create_many and remove_many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import InvalidExpiryError
from ..expiry import KEEP
from ..keys import Key
from ..store import Item, Store
from .base import Contract, Elapse, MakeStore

Mixed = dict[str | Key[Any], Any]
HOUR = timedelta(hours=1)
MANY = 2500

# What a database quotes in an array, a list or a pattern, and between values of one parameter.
# fmt: off
QUOTED = [
    "'", '"', '"a","b"', "\\", '\\"', "{a,b}", "NULL", "%s", "%%", "%(now)s", "%(rows)s", ",", "?",
    ":k", " a ", "\n", "\r\t", "\x01", "\x1e\x1f", "\x7f", "é", "\u2028", "😀",
]
# fmt: on


class ManyContract(Contract):
    """get_many, set_many, create_many and remove_many."""

    @pytest.mark.parametrize("number", [0, 1, 2, 999, 1000, 1001, MANY])
    def test_any_number_of_keys(self, store: Store, number: int) -> None:
        mapping = {f"key {i}": {"n": i} for i in range(number)}
        store.set_many(mapping)
        assert store.count() == number
        assert store.get_many(mapping) == mapping
        assert store.get_many(["other", *mapping]) == mapping
        assert store.remove_many(["other", *mapping]) == number
        assert store.count() == 0
        assert store.remove_many(mapping) == 0

    def test_large_values_are_stored_together(self, store: Store) -> None:
        mapping = {f"k{i}": "é" * 100_000 for i in range(30)}
        store.set_many(mapping)
        assert store.get_many(mapping) == mapping
        assert {key: item.value for key, item in store.items()} == mapping

    def test_whatever_a_database_quotes_is_taken_as_it_is(self, store: Store) -> None:
        mapping: dict[str, Any] = {text: [text, {text: "\0\x1f"}] for text in QUOTED}
        store.set_many(mapping)
        assert store.get_many(mapping) == mapping
        assert {key: item.value for key, item in store.items()} == mapping
        assert store.remove_many(QUOTED[1:]) == len(QUOTED) - 1
        assert list(store.keys()) == QUOTED[:1]

    def test_a_key_that_is_passed_twice_is_one(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2})
        assert store.get_many(["a", "a", "b", "a"]) == {"a": 1, "b": 2}
        assert store.remove_many(["a", "a", Key("a"), "b"]) == 2

    def test_every_entry_has_the_expiry_of_the_call(self, store: Store) -> None:
        moment = datetime(2999, 1, 1, tzinfo=UTC)
        mapping: Mixed = {"a": 1, Key("b", expires=60): 2}
        store.set_many(mapping, expires=moment)
        assert dict(store.items()) == {"a": Item(1, moment), "b": Item(2, moment)}
        store.set_many(mapping, expires=None)
        assert dict(store.items()) == {"a": Item(1, None), "b": Item(2, None)}

    def test_keys_keep_expiries_of_their_own(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        mapping: Mixed = {"a": 1, Key("b", expires=HOUR): 2, Key("c", expires=None): 3, Key("d"): 4}
        store.set_many(mapping)
        left = {key: item.ttl for key, item in store.items()}
        assert left.pop("c") is None
        for key, least, most in (("a", 50, 60), ("b", 3500, 3600), ("d", 50, 60)):
            ttl = left.pop(key)
            assert ttl is not None
            assert timedelta(seconds=least) < ttl <= timedelta(seconds=most)
        assert left == {}

    def test_keep_leaves_live_expiries_and_gives_new_entries_their_default(
        self, store: Store
    ) -> None:
        store.set("a", 1, expires=HOUR)
        store.set("b", 1)
        before = store.get_item("a")
        assert before is not None
        new: Mixed = {"a": 2, "b": 2, "c": 2, Key("d", expires=60): 2, Key("a:", expires=60): 2}
        store.set_many(new, expires=KEEP)
        found = dict(store.items())
        assert found.pop("a") == Item(2, before.expires_at)
        assert found.pop("b") == found.pop("c") == Item(2, None)
        for item in found.values():
            assert item.ttl is not None
            assert timedelta(seconds=50) < item.ttl <= timedelta(seconds=60)
        assert len(found) == 2

    def test_a_past_moment_of_one_key_stores_none(self, store: Store) -> None:
        past = Key("b", expires=datetime(2020, 1, 1, tzinfo=UTC))
        mapping: Mixed = {"a": 1, past: 2, "c": 3}
        with pytest.raises(InvalidExpiryError):
            store.set_many(mapping)
        assert store.count() == 0

    def test_remove_many_counts_the_entries_that_were_there(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2, "c": None})
        assert store.remove_many(["a", "c", "missing"]) == 2
        assert list(store.keys()) == ["b"]
        assert store.remove_many([]) == 0

    @pytest.mark.parametrize("number", [0, 1, 2, 1000, MANY])
    def test_create_many_takes_any_number_of_keys(self, store: Store, number: int) -> None:
        mapping = {f"key {i}": i for i in range(number)}
        half = list(mapping)[::2]
        assert store.create_many(dict.fromkeys(half, "first")) == []
        assert store.create_many(mapping) == half
        assert store.create_many(mapping) == list(mapping)
        assert store.get_many(mapping) == {**mapping, **dict.fromkeys(half, "first")}

    def test_create_many_leaves_live_entries_as_they_are(self, store: Store) -> None:
        store.set("b", 1, expires=HOUR)
        before = store.get_item("b")
        moment = datetime(2999, 1, 1, tzinfo=UTC)
        new: Mixed = {"c": 2, "b": 2, Key("a", expires=60): 2}
        assert store.create_many(new, expires=moment) == ["b"]
        assert store.get_item("b") == before
        assert store.get_item("a") == store.get_item("c") == Item(2, moment)
        assert store.create_many({"b": 1}) == ["b"]  # even with the same value

    def test_create_many_stores_over_what_has_expired(self, store: Store, elapse: Elapse) -> None:
        store.set_many({"a": 1, "b": 1}, expires=0.02)
        store.set("c", 1)
        elapse(0.03)
        assert store.create_many({"a": 2, "b": 2, "c": 2, "d": 2}, expires=HOUR) == ["c"]
        found = dict(store.items())
        assert found.pop("c") == Item(1, None)
        assert [item.value for item in found.values()] == [2, 2, 2]
        assert all(item.ttl is not None and item.ttl > HOUR / 2 for item in found.values())

    def test_a_past_moment_of_one_key_creates_none(self, store: Store) -> None:
        past = Key("b", expires=datetime(2020, 1, 1, tzinfo=UTC))
        mapping: Mixed = {"a": 1, past: 2, "c": 3}
        with pytest.raises(InvalidExpiryError):
            store.create_many(mapping)
        # A driver of others may create one key after the other.
        assert past not in store
