"""A text that is not JSON is told, never lost, and mended by a write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..exceptions import DecodeError, DuplicateKeyError
from ..expiry import KEEP
from ..keys import Key
from ..store import Item, Store
from .base import Contract

BROKEN: dict[str, str] = {
    "empty": "",
    "cut short": '{"secret": [1, 2',
    "no JSON": "secret",
    "single quotes": "{'secret': 1}",
    "two values": '"secret" "b"',
    "NaN": "NaN",
    "leading zero": "01",
    "lone surrogate": r'"secret \ud800"',
    "past the range of floats": "1e400",
}


def write_beneath(store: Store, key: str, text: str) -> None:
    """Store a text that nothing has checked: a driver takes any."""
    store.driver.set(key, text.encode(), None)


READS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("a"),
    "get with a default": lambda store: store.get("a", "default"),
    "get as_": lambda store: store.get("a", as_=dict[str, int]),
    "get of a Key": lambda store: store.get(Key("a", as_=str)),
    "get strict": lambda store: store.get("a", as_=str, strict=True),
    "get_item": lambda store: store.get_item("a"),
    "get_many": lambda store: store.get_many(["a", "b"], as_=str),
    "pop": lambda store: store.pop("a"),
    "pop as_": lambda store: store.pop("a", as_=str),
    "update": lambda store: store.update("a", lambda old: old, 1),
    "get_or_create": lambda store: store.get_or_create("a", 1),
    "incr": lambda store: store.incr("a"),
    "items": lambda store: list(store.items()),
}


class CorruptContract(Contract):
    """A text that is not JSON is told, never lost, and mended by a write."""

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_every_read_tells_of_a_corrupt_entry(
        self, store: Store, read: Callable[[Store], object], text: str
    ) -> None:
        write_beneath(store, "a", text)
        with pytest.raises(DecodeError, match="'a'") as caught:
            read(store)
        assert "secret" not in str(caught.value)
        assert "a" in store
        with pytest.raises(DecodeError):
            store.get("a")

    def test_a_corrupt_entry_is_there(self, store: Store) -> None:
        write_beneath(store, "a", "{broken")
        assert "a" in store
        assert list(store.keys()) == ["a"]
        assert store.count() == 1
        assert store.touch("a", 60)
        with pytest.raises(DuplicateKeyError):
            store.create("a", 1)
        with pytest.raises(DecodeError):
            store.get("a")

    @pytest.mark.parametrize(
        "mend",
        [
            lambda store: store.set("a", 1),
            lambda store: store.set("a", 1, expires=KEEP),
            lambda store: store.set_many({"b": 2, "a": 1}),
            lambda store: (store.remove("a"), store.create("a", 1)),
            lambda store: (store.remove_many(["a"]), store.create("a", 1)),
            lambda store: (store.clear(), store.create("a", 1)),
        ],
        ids=["set", "set KEEP", "set_many", "remove", "remove_many", "clear"],
    )
    def test_a_corrupt_entry_is_mended_by_set_and_remove(
        self, store: Store, mend: Callable[[Store], object]
    ) -> None:
        write_beneath(store, "a", "{broken")
        mend(store)
        assert store.get_item("a") == Item(1, None)

    @pytest.mark.parametrize(
        ("text", "value"),
        [(' {"b" : 1,\n"a":[ ] } ', {"b": 1, "a": []}), ("1.0", 1.0), (r'"\u00e9\/"', "é/")],
        ids=["spaces", "1.0", "escapes"],
    )
    def test_json_that_another_has_written_is_a_value(
        self, store: Store, text: str, value: Any
    ) -> None:
        write_beneath(store, "a", text)
        assert store.get("a") == value
        assert store.update("a", lambda old: [old]) == [value]
        write_beneath(store, "a", text)
        assert store.pop("a") == value
        assert "a" not in store

    @pytest.mark.parametrize("text", [" 5", "5 ", "05", "+5", "5.0", "5e0", "-0", "5\n"], ids=repr)
    def test_a_counter_that_is_not_written_as_one_is_left_as_it_is(
        self, store: Store, text: str
    ) -> None:
        for by in (1, 0, -1):
            write_beneath(store, "a", text)
            with pytest.raises(DecodeError, match="'a'"):
                store.incr("a", by)
            assert store.driver.get("a") in (text, text.encode())
