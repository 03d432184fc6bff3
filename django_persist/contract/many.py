"""get_many, set_many and remove_many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import (
    DecodeError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
    PersistError,
)
from ..expiry import KEEP
from ..keys import Key
from ..store import Item, Store
from .base import Contract, MakeStore

Mixed = dict[str | Key[Any], Any]
HOUR = timedelta(hours=1)
MANY = 2500


class ManyContract(Contract):
    """get_many, set_many and remove_many."""

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

    def test_results_are_keyed_by_what_was_passed(self, store: Store) -> None:
        cart, plain = Key("{name}", as_=list[int])(name="a"), Key("b")
        store.set_many({"a": [1], "b": {"x": 2}, "c": 3})
        found = store.get_many([cart, "a", plain, "c", "missing", Key("missing")])
        assert found == {cart: [1], "a": [1], plain: {"x": 2}, "c": 3}
        assert [type(key) for key in found] == [Key, str, Key, str]

    def test_results_come_in_the_order_of_the_keys(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2, "c": 3})
        assert list(store.get_many(["c", "missing", "a", "b"])) == ["c", "a", "b"]
        assert list(store.get_many(["b", "c", "a"]).items()) == [("b", 2), ("c", 3), ("a", 1)]

    def test_whatever_a_database_quotes_is_taken_as_it_is(self, store: Store) -> None:
        """In an array, a list or a pattern, and between the values of one parameter."""
        texts = [
            "'",
            '"',
            '"a","b"',
            "\\",
            '\\"',
            "{a,b}",
            "NULL",
            "%s",
            "%%",
            "%(now)s",
            ",",
            "?",
            ":k",
        ]
        texts += [" a ", "\n", "\r\t", "\x01", "\x1e\x1f", "\x7f", "é", "\u2028", "😀", "%(rows)s"]
        mapping: dict[str, Any] = {text: [text, {text: "\0\x1f"}] for text in texts}
        store.set_many(mapping)
        assert store.get_many(mapping) == mapping
        assert {key: item.value for key, item in store.items()} == mapping
        assert store.remove_many(texts[1:]) == len(texts) - 1
        assert list(store.keys()) == texts[:1]

    def test_keys_can_be_any_iterable(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2})
        assert store.get_many(key for key in ("a", "b")) == {"a": 1, "b": 2}
        assert store.get_many({"a", "b"}) == {"a": 1, "b": 2}
        assert store.get_many({"a": "ignored"}) == {"a": 1}
        assert store.remove_many(key for key in ("a", "b")) == 2

    def test_a_key_that_is_passed_twice_is_one(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2})
        assert store.get_many(["a", "a", "b", "a"]) == {"a": 1, "b": 2}
        assert store.remove_many(["a", "a", Key("a"), "b"]) == 2

    def test_none_is_a_value_among_others(self, store: Store) -> None:
        store.set_many({"a": None, "b": 0})
        assert store.get_many(["a", "b", "c"]) == {"a": None, "b": 0}

    def test_strict_tells_of_the_first_misfit(self, store: Store) -> None:
        store.set_many({"a": 1, "b": "text"})
        with pytest.raises(DecodeError, match="'b'"):
            store.get_many(["a", "b"], as_=int, strict=True)
        with pytest.raises(DecodeError, match="'b'"):
            store.get_many([Key("a", as_=int), Key("b", as_=int)], strict=True)

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

    def test_keep_leaves_the_living_and_gives_the_new_their_default(self, store: Store) -> None:
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

    def test_one_entry_for_a_name_that_is_given_twice(self, store: Store) -> None:
        twice: Mixed = {"a": 1, Key("a", expires=60): 2}
        store.set_many(twice)
        item = store.get_item("a")
        assert item is not None
        assert item.value == 2
        assert item.ttl is not None

    @pytest.mark.parametrize(
        ("bad", "expires", "error"),
        [
            ({"bad": object()}, None, EncodeError),
            ({"bad": float("nan")}, None, EncodeError),
            ({"": 1}, None, InvalidKeyError),
            ({"k" * 256: 1}, None, InvalidKeyError),
            ({"\0": 1}, None, InvalidKeyError),
            ({Key("x:{a}"): 1}, None, InvalidKeyError),
            ({5: 1}, None, TypeError),
            ({"bad": 1}, datetime(2020, 1, 1, tzinfo=UTC), InvalidExpiryError),
            ({"bad": 1}, -1, InvalidExpiryError),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else None,
    )
    @pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
    def test_nothing_is_written_where_one_is_bad(
        self, store: Store, bad: Any, expires: Any, error: type[PersistError], last: bool
    ) -> None:
        store.set("old", 1)
        good: Any = {"old": 2, "new": 2}
        with pytest.raises(error):
            store.set_many({**good, **bad} if last else {**bad, **good}, expires=expires)
        assert dict(store.items()) == {"old": Item(1, None)}

    def test_a_past_moment_of_one_key_stores_none(self, store: Store) -> None:
        past = Key("b", expires=datetime(2020, 1, 1, tzinfo=UTC))
        mapping: Mixed = {"a": 1, past: 2, "c": 3}
        with pytest.raises(InvalidExpiryError):
            store.set_many(mapping)
        assert store.count() == 0

    @pytest.mark.parametrize(
        "keys", [["a", ""], ["a", "\0"], ["k" * 256], ["a", Key("x:{a}")]], ids=str
    )
    @pytest.mark.parametrize("call", ["get_many", "remove_many"])
    def test_nothing_is_done_where_one_key_is_bad(self, store: Store, call: str, keys: Any) -> None:
        store.set("a", 1)
        with pytest.raises(InvalidKeyError):
            getattr(store, call)(keys)
        assert "a" in store

    def test_remove_many_counts_the_entries_that_were_there(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2, "c": None})
        assert store.remove_many(["a", "c", "missing"]) == 2
        assert list(store.keys()) == ["b"]
        assert store.remove_many([]) == 0

    @pytest.mark.parametrize("keys", ["session", Key("session")], ids=["str", "Key"])
    @pytest.mark.parametrize("call", ["get_many", "remove_many"])
    def test_one_key_is_not_many(self, store: Store, call: str, keys: Any) -> None:
        store.set("s", 1)
        with pytest.raises(TypeError, match="an iterable of keys"):
            getattr(store, call)(keys)
        assert "s" in store
