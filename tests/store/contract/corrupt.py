"""A stored text that is not JSON raises DecodeError, whichever call reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_persist import Key, Store
from django_persist.contract.corrupt import CORRUPT, write_text
from django_persist.exceptions import DecodeError
from tests.store.contract.base import Contract

READS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("a"),
    "get with a default": lambda store: store.get("a", "default"),
    "get as_": lambda store: store.get("a", as_=dict[str, int]),
    "get of a Key": lambda store: store.get(Key("a", as_=str)),
    "get strict": lambda store: store.get("a", as_=str, strict=True),
    "get_item": lambda store: store.get_item("a"),
    "get_many": lambda store: store.get_many(["a", "b"]),
    "get_many as_": lambda store: store.get_many(["a", "b"], as_=str),
    "get_many of a Key": lambda store: store.get_many([Key("a"), "b"]),
    "pop": lambda store: store.pop("a"),
    "pop as_": lambda store: store.pop("a", as_=str),
    "update": lambda store: store.update("a", lambda old: old, 1),
    "get_or_create": lambda store: store.get_or_create("a", 1),
    "incr": lambda store: store.incr("a"),
    "items": lambda store: list(store.items()),
}


class CorruptContract(Contract):
    """A stored text that is not JSON raises DecodeError, whichever call reads it."""

    @pytest.mark.parametrize("text", CORRUPT.values(), ids=CORRUPT)
    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_every_read_raises_and_changes_nothing(
        self, store: Store, unwritten: Store, read: Callable[[Store], object], text: str
    ) -> None:
        write_text(store, "a", text)
        with pytest.raises(DecodeError, match="'a'") as caught:
            read(store if read is READS["incr"] else unwritten)
        assert "secret" not in str(caught.value)
        assert store.driver.get("a") == text.encode()
