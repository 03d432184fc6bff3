"""What `as_` asks for, in every call that reads."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from django_persist import Key, Store
from django_persist.exceptions import DecodeError, EncodeError
from tests.store.contract.base import Contract


@dataclass
class Line:
    name: str
    count: int = 1


@dataclass
class Cart:
    owner: UUID
    lines: list[Line]


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float


class Options(TypedDict, total=False):
    color: str
    size: int


class Pair(NamedTuple):
    first: int
    second: str


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.define
class Size:
    width: int
    unit: str | None = None


class Account(pydantic.BaseModel):
    name: str
    since: date


class Unknown:
    """A type that can't be validated."""


TYPED: dict[str, tuple[Any, Any]] = {
    "str": (str, "text"),
    "int": (int, 2**70),
    "float": (float, 1e22),
    "bool": (bool, True),
    "dataclass": (Cart, Cart(UUID(int=1), [Line("spoon"), Line("fork", 2)])),
    "Struct": (Point, Point(1.0, -0.0)),
    "TypedDict": (Options, {"color": "red"}),
    "NamedTuple": (Pair, Pair(1, "b")),
    "list of int": (list[int], [1, 2]),
    "list of dataclass": (list[Line], [Line("a"), Line("b")]),
    "dict of Struct": (dict[str, Point], {"a": Point(1.5, 2.0)}),
    "int or None": (int | None, 5),
    "None of int or None": (int | None, None),
    "Literal": (Literal["a", "b", 3], "b"),
    "Enum": (Color, Color.BLUE),
    "datetime": (datetime, datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    "date": (date, date(2030, 1, 2)),
    "time": (time, time(1, 2, 3)),
    "timedelta": (timedelta, timedelta(days=1, microseconds=1)),
    "UUID": (UUID, UUID(int=2**100)),
    "Decimal": (Decimal, Decimal("1.10")),
    "set": (set[int], {1, 2}),
    "frozenset": (frozenset[str], frozenset({"a"})),
    "tuple": (tuple[int, str], (1, "a")),
    "tuple of any length": (tuple[int, ...], (1, 2, 3)),
    "bytes": (bytes, b"\0\xff"),
    "Any": (Any, {"a": [1]}),
}


MISMATCHES: dict[str, tuple[Any, Any]] = {
    "str as int": ("51927", int),
    "int as str": (51927, str),
    "float as int": (51927.5, int),
    "bool as int": (True, int),
    "int as bool": (1, bool),
    "None as str": (None, str),
    "list as dict": ([51927], dict[str, int]),
    "item of a list": ([1, "51927"], list[int]),
    "field of a dataclass": ({"name": 51927}, Line),
    "missing field": ({"count": 51927}, Line),
    "field of a Struct": ({"x": "51927", "y": 1}, Point),
    "field of attrs": ({"width": "51927"}, Size),
    "field of pydantic": ({"name": "51927", "since": "yesterday"}, Account),
    "field of a TypedDict": ({"size": "51927"}, Options),
    "no member of an Enum": ("51927", Color),
    "no Literal": ("51927", Literal["a", "b"]),
    "no UUID": ("51927", UUID),
    "no datetime": ("51927", datetime),
    "no base64": ("51927", bytes),
    "too long a tuple": ([1, "a", 51927], tuple[int, str]),
    "none of a union": ([51927], int | None),
}

READS: dict[str, tuple[Callable[[Store, Any, bool], object], object]] = {
    "get": (
        lambda store, as_, strict: store.get("a", "none", as_=as_, strict=strict),
        "none",
    ),
    "get of a Key": (
        lambda store, as_, strict: store.get(Key("a", as_=as_), "none", strict=strict),
        "none",
    ),
    "get_item": (
        lambda store, as_, strict: store.get_item("a", as_=as_, strict=strict),
        None,
    ),
    "get_many": (
        lambda store, as_, strict: store.get_many(["b", "a"], as_=as_, strict=strict),
        {},
    ),
    "pop": (
        lambda store, as_, strict: store.pop("a", "none", as_=as_, strict=strict),
        "none",
    ),
}


def is_the_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


class TypesContract(Contract):
    """What `as_` asks for, in every call that reads."""

    @pytest.mark.parametrize(("as_", "value"), TYPED.values(), ids=TYPED)
    def test_every_reading_call_returns_the_type_asked_for(
        self, store: Store, as_: Any, value: Any
    ) -> None:
        store.set("a", value)
        other = object()
        assert is_the_same(store.get("a", other, as_=as_), value)
        assert is_the_same(store.get("a", other, as_=as_, strict=True), value)
        item = store.get_item("a", as_=as_)
        assert item is not None
        assert is_the_same(item.value, value)
        assert is_the_same(store.get_many(["a", "b"], as_=as_), {"a": value})
        assert is_the_same(store.get_or_create("a", value, as_=as_), (value, False))
        assert is_the_same(store.get_or_create("new", value, as_=as_), (value, True))
        assert is_the_same(store.update("a", lambda old: old, as_=as_), value)
        assert is_the_same(store.update("newer", lambda old: old, value, as_=as_), value)
        assert is_the_same(store.get(Key("a", as_=as_), other), value)
        assert is_the_same(store.pop("a", other, as_=as_), value)
        assert "a" not in store

    def test_a_value_of_another_type_stays_in_place(self, store: Store) -> None:
        store.set("a", "text", expires=3600)
        before = store.get_item("a")
        assert store.get("a", as_=int) is None
        assert store.get_item("a", as_=int) is None
        assert store.get_many(["a"], as_=int) == {}
        assert store.pop("a", as_=int) is None
        for call in (
            lambda: store.pop("a", as_=int, strict=True),
            lambda: store.update("a", lambda old: old, as_=int),
            lambda: store.get_or_create("a", 1, as_=int),
        ):
            with pytest.raises(DecodeError):
                call()
        assert store.get_item("a") == before
        assert "a" in store

    @pytest.mark.parametrize(("value", "as_"), MISMATCHES.values(), ids=MISMATCHES)
    @pytest.mark.parametrize(("read", "absent"), READS.values(), ids=READS)
    def test_a_value_of_another_type_counts_as_absent_and_is_logged(
        self,
        store: Store,
        unwritten: Store,
        caplog: pytest.LogCaptureFixture,
        read: Callable[[Store, Any, bool], object],
        absent: object,
        value: Any,
        as_: Any,
    ) -> None:
        store.set("a", value)
        assert read(unwritten, as_, False) == absent
        [record] = caplog.records
        assert (record.name, record.levelno) == ("django_persist", logging.WARNING)
        assert "'a'" in record.getMessage()
        # A union has a name only from Python 3.14 on, which is the same for all unions.
        name = str(as_) if isinstance(as_, UnionType) else getattr(as_, "__name__", "")
        assert name in record.getMessage()
        assert "51927" not in caplog.text
        with pytest.raises(DecodeError, match="'a' is not of the type") as caught:
            read(unwritten, as_, True)
        assert "51927" not in str(caught.value)
        assert len(caplog.records) == 1

    @pytest.mark.parametrize(("value", "as_"), MISMATCHES.values(), ids=MISMATCHES)
    def test_update_and_get_or_create_never_write_over_a_value_of_another_type(
        self, store: Store, unwritten: Store, value: Any, as_: Any
    ) -> None:
        store.set("a", value, expires=60)
        calls: list[Any] = []
        with pytest.raises(DecodeError, match="'a' is not of the type"):
            unwritten.update("a", calls.append, 1, as_=as_)
        with pytest.raises(DecodeError, match="'a' is not of the type"):
            unwritten.get_or_create("a", lambda: calls.append(1), as_=as_)
        assert calls == []

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.update("a", lambda old: "text", as_=int),
            lambda store: store.update("new", lambda old: old, "text", as_=int),
            lambda store: store.update("new", lambda old: "text", 1, as_=int),
            lambda store: store.get_or_create("new", "text", as_=int),
            lambda store: store.get_or_create(Key("new", as_=int), lambda: "text"),
        ],
        ids=["fn", "default of update", "fn over default", "default", "default of a Key"],
    )
    def test_what_is_not_of_the_type_is_not_written(
        self, store: Store, unwritten: Store, call: Callable[[Store], object]
    ) -> None:
        store.set("a", 1)
        with pytest.raises(EncodeError, match="is not of the type int"):
            call(unwritten)

    @pytest.mark.parametrize(
        ("as_", "name"),
        [
            (Unknown, "Unknown"),
            (list[Unknown], r"list\[Unknown\]"),
            (Unknown | None, r"Unknown \| None"),
            (UserDict, "UserDict"),
            (list[int] | set[int], r"list\[int\] \| set\[int\]"),
            (Line | Cart, r"Line \| Cart"),
            ("Line", "Line"),
            (5, "5"),
        ],
        ids=str,
    )
    def test_a_type_that_cannot_be_validated_is_a_type_error(
        self, store: Store, unwritten: Store, as_: Any, name: str
    ) -> None:
        store.set("a", {})
        for call in (
            lambda: unwritten.get("a", as_=as_),
            lambda: unwritten.get("a", as_=as_, strict=True),
            lambda: unwritten.get_item("a", as_=as_),
            lambda: unwritten.get_many(["a"], as_=as_),
            lambda: unwritten.pop("a", as_=as_),
            lambda: unwritten.get("missing", as_=as_),
            lambda: unwritten.get_item("missing", as_=as_),
            lambda: unwritten.get_many(["missing"], as_=as_),
            lambda: unwritten.pop("missing", as_=as_),
            lambda: unwritten.update("a", lambda old: old, as_=as_),
            lambda: unwritten.get_or_create("a", {}, as_=as_),
            lambda: unwritten.get_or_create("new", {}, as_=as_),
            lambda: unwritten.update("new", lambda old: old, {}, as_=as_),
        ):
            with pytest.raises(TypeError, match=name):
                call()
