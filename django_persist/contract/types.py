"""What `as_` asks for, on every call that reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest

from ..exceptions import DecodeError, EncodeError
from ..keys import Key
from ..store import Item, Store
from .base import Contract


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


def is_the_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


class TypesContract(Contract):
    """What `as_` asks for, on every call that reads."""

    @pytest.mark.parametrize(("as_", "value"), TYPED.values(), ids=TYPED)
    def test_every_reading_call_returns_the_type_asked_for(
        self, store: Store, as_: Any, value: Any
    ) -> None:
        store.set("a", value)
        other = object()
        assert is_the_same(store.get("a", other, as_=as_), value)
        assert is_the_same(store.get("a", other, as_=as_, strict=True), value)
        assert is_the_same(store.get_item("a", as_=as_), Item(value, None))
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
        with pytest.raises(DecodeError):
            store.pop("a", as_=int, strict=True)
        with pytest.raises(DecodeError):
            store.update("a", lambda old: old, as_=int)
        with pytest.raises(DecodeError):
            store.get_or_create("a", 1, as_=int)
        assert store.get_item("a") == before
        assert "a" in store

    def test_get_many_returns_the_others(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.set_many({"a": 1, "b": "text", "c": 3, "d": None})
        assert store.get_many(["a", "b", "c", "d"], as_=int) == {"a": 1, "c": 3}
        assert len(caplog.records) == 2

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
        self, store: Store, call: Callable[[Store], object]
    ) -> None:
        store.set("a", 1)
        with pytest.raises(EncodeError, match="is not of the type int"):
            call(store)
        assert dict(store.items()) == {"a": Item(1, None)}
