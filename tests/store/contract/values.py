"""What can be stored, and what is refused before it is."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_persist import KEEP, REMOVE, Store
from django_persist.contract.base import MakeStore
from django_persist.contract.values import same
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import EncodeError, ValueTooLargeError
from django_persist.keyspace import MAX_VALUE_BYTES
from tests.store.contract.base import Contract, UnwrittenDriver

Write = Callable[[Store, Any], object]

# The calls that write a value: without reading first, and after it.
BLIND: dict[str, Write] = {
    "create": lambda store, value: store.create("new", value),
    "set": lambda store, value: store.set("old", value),
    "set KEEP": lambda store, value: store.set("old", value, expires=KEEP),
    "set_many": lambda store, value: store.set_many({"other": 1, "old": value}),
}
READING: dict[str, Write] = {
    "update": lambda store, value: store.update("old", lambda old: value),
    "update default": lambda store, value: store.update("new", lambda old: 1, value),
    "update default, REMOVE": lambda store, value: store.update("new", lambda old: REMOVE, value),
    "get_or_create": lambda store, value: store.get_or_create("new", lambda: value),
}
UNFAITHFUL: dict[str, tuple[Any, str]] = {
    "NaN": ({"list": [1, float("nan")]}, r"\$\.list\[1\]"),
    "infinity": (float("-inf"), r"\$"),
    "keys that fall together": ({1: "a", "1": "b"}, r"\$"),
    "lone surrogate": (["\ud800"], r"\$\[0\]"),
    "object": ({"thing": object()}, r"\$\.thing"),
    "bool as a key": ({True: 1}, r"\$"),
}


class ValuesContract(Contract):
    """What can be stored, and what is refused before it is."""

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            ((1, 2), [1, 2]),
            ({1: "a", 2: "b"}, {"1": "a", "2": "b"}),
            (mark_safe("<b>"), "<b>"),
            (gettext_lazy("entry"), "entry"),
            (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Decimal("1.50"), "1.50"),
            (b"\xff\0", "/wA="),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_without_as_a_value_reads_back_as_its_json(
        self, store: Store, value: Any, plain: Any
    ) -> None:
        store.set("a", value)
        assert same(store.get("a"), plain)

    def test_get_returns_the_default_where_nothing_is(self, store: Store) -> None:
        assert store.get("a") is None
        assert store.get("a", "default") == "default"
        marker = object()
        assert store.get("a", marker) is marker

    def test_what_get_returns_is_the_callers_own(self, store: Store) -> None:
        value: dict[str, list[int]] = {"list": []}
        store.set("a", value)
        value["list"].append(1)
        store.get("a")["list"].append(2)
        assert store.get("a") == {"list": []}

    @pytest.mark.parametrize(("value", "path"), UNFAITHFUL.values(), ids=UNFAITHFUL)
    @pytest.mark.parametrize("write", BLIND.values(), ids=BLIND)
    def test_what_cannot_be_stored_faithfully_is_refused(
        self, uncalled: Store, write: Write, value: Any, path: str
    ) -> None:
        with pytest.raises(EncodeError, match=path):
            write(uncalled, value)

    @pytest.mark.parametrize(("value", "path"), UNFAITHFUL.values(), ids=UNFAITHFUL)
    @pytest.mark.parametrize("write", READING.values(), ids=READING)
    def test_what_cannot_be_stored_faithfully_is_never_written(
        self, store: Store, unwritten: Store, write: Write, value: Any, path: str
    ) -> None:
        store.set("old", "before")
        with pytest.raises(EncodeError, match=path):
            write(unwritten, value)

    @pytest.mark.parametrize("write", BLIND.values(), ids=BLIND)
    def test_a_value_past_max_value_bytes_is_refused(
        self, make_uncalled: MakeStore, write: Write
    ) -> None:
        uncalled = make_uncalled(max_value_bytes=10)
        with pytest.raises(ValueTooLargeError, match="11 bytes.*10"):
            write(uncalled, "ü" * 4 + "x")  # with its quotes 11 bytes, though 7 characters

    @pytest.mark.parametrize("write", READING.values(), ids=READING)
    def test_a_value_past_max_value_bytes_is_never_written(
        self, store: Store, driver: MemoryDriver, write: Write
    ) -> None:
        store.set("old", "before")
        with pytest.raises(ValueTooLargeError, match="11 bytes.*10"):
            write(Store(UnwrittenDriver(name=driver.name), max_value_bytes=10), "ü" * 4 + "x")

    def test_a_value_of_just_max_value_bytes_is_stored(self, make_store: MakeStore) -> None:
        store = make_store(max_value_bytes=10)
        store.create("a", "ü" * 4)
        assert store.get("a") == "üüüü"
        store.set_many({"b": 1234567890})
        assert store.get("b") == 1234567890

    def test_a_namespace_has_the_limit_of_its_store(self, make_store: MakeStore) -> None:
        namespace = make_store(max_value_bytes=10).namespace("inner")
        with pytest.raises(ValueTooLargeError, match="11 bytes.*10"):
            namespace.set("a", "x" * 9)

    def test_no_limit_exceeds_what_every_driver_takes(self, make_store: MakeStore) -> None:
        for given in (None, MAX_VALUE_BYTES + 1):
            assert make_store(max_value_bytes=given).keyspace.max_value_bytes == MAX_VALUE_BYTES
