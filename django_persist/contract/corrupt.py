"""A text that is not JSON is reported, never lost, and replaced by the next write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..exceptions import DecodeError, DuplicateKeyError
from ..expiry import KEEP
from ..store import Item, Store
from .base import Contract, outcome

CORRUPT: dict[str, str] = {
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

# The calls that read by themselves, and those that read before they write.
READS: dict[str, Callable[[Store, str], object]] = {
    "get": lambda store, key: store.get(key),
    "get_item": lambda store, key: store.get_item(key),
    "get_many": lambda store, key: store.get_many(["other", key]),
    "items": lambda store, key: list(store.items(key)),
    "pop": lambda store, key: store.pop(key),
    "update": lambda store, key: store.update(key, lambda old: old, 1),
    "get_or_create": lambda store, key: store.get_or_create(key, 1),
    "incr": lambda store, key: store.incr(key),
}

WRITES: dict[str, Callable[[Store, str], object]] = {
    "set": lambda store, key: store.set(key, 1),
    "set KEEP": lambda store, key: store.set(key, 1, expires=KEEP),
    "set_many": lambda store, key: store.set_many({"b": 2, key: 1}),
}
REMOVALS: dict[str, Callable[[Store, str], object]] = {
    "remove": lambda store, key: store.remove(key),
    "remove_many": lambda store, key: store.remove_many([key]),
    "clear": lambda store, key: store.clear(),
}
NOT_CANONICAL = [" 5", "5 ", "05", "+5", "5.0", "5e0", "-0", "5\n"]


def write_text(store: Store, key: str, text: str) -> None:
    """Store a text below the store, which would not write it. A driver takes any."""
    store.driver.set(key, text.encode(), None)


class CorruptContract(Contract):
    """A text that is not JSON is reported, never lost, and replaced by the next write."""

    def test_every_read_reports_a_corrupt_entry(self, store: Store) -> None:
        for name, text in CORRUPT.items():
            write_text(store, name, text)
            for call, read in READS.items():
                error = outcome(read, store, name)
                assert isinstance(error, DecodeError), (call, name)
                assert repr(name) in str(error), (call, name)
                assert "secret" not in str(error), (call, name)
        found = {key: store.driver.get(key) for key in CORRUPT}
        assert all(found[name] in (text, text.encode()) for name, text in CORRUPT.items())

    def test_a_corrupt_entry_is_there(self, store: Store) -> None:
        write_text(store, "a", "{broken")
        assert "a" in store
        assert list(store.keys()) == ["a"]
        assert store.count() == 1
        assert store.touch("a", 60)
        with pytest.raises(DuplicateKeyError):
            store.create("a", 1)
        with pytest.raises(DecodeError):
            store.get("a")

    def test_a_corrupt_entry_is_repaired_by_set_and_remove(self, store: Store) -> None:
        for name, write in WRITES.items():
            write_text(store, name, "{broken")
            write(store, name)
            assert store.get_item(name) == Item(1, None), name
        for name, remove in REMOVALS.items():
            write_text(store, name, "{broken")
            remove(store, name)
            store.create(name, 1)
            assert store.get_item(name) == Item(1, None), name

    def test_json_that_another_has_written_is_a_value(self, store: Store) -> None:
        texts: dict[str, Any] = {
            ' {"b" : 1,\n"a":[ ] } ': {"b": 1, "a": []},
            "1.0": 1.0,
            r'"\u00e9\/"': "é/",
        }
        for text, value in texts.items():
            write_text(store, "a", text)
            assert store.get("a") == value, text
            assert store.update("a", lambda old: [old]) == [value], text
            write_text(store, "a", text)
            assert store.pop("a") == value, text
            assert "a" not in store, text

    def test_a_number_that_is_not_written_as_a_counter_is_left_as_it_is(self, store: Store) -> None:
        for text in NOT_CANONICAL:
            write_text(store, text, text)
            for by in (1, 0, -1):
                error = outcome(store.incr, text, by)
                assert isinstance(error, DecodeError), (text, by)
                assert repr(text) in str(error), (text, by)
            assert store.driver.get(text) in (text, text.encode())
