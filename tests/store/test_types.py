"""What `as_` asks for, on every call that reads."""

from __future__ import annotations

import logging
from collections import UserDict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import attrs
import pydantic
import pytest

from django_persist import Item, Key, Store
from django_persist.contract.typed_keys import READS
from django_persist.contract.types import Cart, Color, Line, Options, Point
from django_persist.exceptions import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import OpenStore


@attrs.define
class Size:
    width: int
    unit: str | None = None


class Account(pydantic.BaseModel):
    name: str
    since: date


MISFITS: dict[str, tuple[Any, Any]] = {
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


@pytest.mark.parametrize(("value", "as_"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize(
    ("read", "absent"),
    [
        (lambda store, as_, strict: store.get("a", "none", as_=as_, strict=strict), "none"),
        (lambda store, as_, strict: store.get(Key("a", as_=as_), "none", strict=strict), "none"),
        (lambda store, as_, strict: store.get_item("a", as_=as_, strict=strict), None),
        (lambda store, as_, strict: store.get_many(["b", "a"], as_=as_, strict=strict), {}),
        (lambda store, as_, strict: store.pop("a", "none", as_=as_, strict=strict), "none"),
    ],
    ids=["get", "get of a Key", "get_item", "get_many", "pop"],
)
def test_a_value_of_another_type_counts_as_absent_and_is_logged(
    open_store: OpenStore,
    caplog: pytest.LogCaptureFixture,
    read: Callable[[Store, Any, bool], object],
    absent: object,
    value: Any,
    as_: Any,
) -> None:
    store = open_store("memory")
    store.set("a", value)
    assert read(store, as_, False) == absent
    [record] = caplog.records
    assert (record.name, record.levelno) == ("django_persist", logging.WARNING)
    assert "'a'" in record.getMessage()
    assert getattr(as_, "__name__", "") in record.getMessage()
    assert "51927" not in caplog.text
    with pytest.raises(DecodeError, match="'a' is not of the type") as caught:
        read(store, as_, True)
    assert "51927" not in str(caught.value)
    assert len(caplog.records) == 1
    assert store.get("a") == value


@pytest.mark.parametrize(("value", "as_"), MISFITS.values(), ids=MISFITS)
def test_update_and_get_or_create_never_write_over_a_value_of_another_type(
    open_store: OpenStore, value: Any, as_: Any
) -> None:
    store = open_store("memory")
    store.set("a", value, expires=60)
    before = store.get_item("a")
    calls: list[Any] = []
    with pytest.raises(DecodeError, match="'a' is not of the type"):
        store.update("a", calls.append, 1, as_=as_)
    with pytest.raises(DecodeError, match="'a' is not of the type"):
        store.get_or_create("a", lambda: calls.append(1), as_=as_)
    assert calls == []
    assert store.get_item("a") == before


class Unknown:
    pass


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
    open_store: OpenStore, as_: Any, name: str
) -> None:
    store = open_store("memory")
    store.set("a", {})
    for call in (
        lambda: store.get("a", as_=as_),
        lambda: store.get("a", as_=as_, strict=True),
        lambda: store.get_item("a", as_=as_),
        lambda: store.get_many(["a"], as_=as_),
        lambda: store.pop("a", as_=as_),
        lambda: store.get("missing", as_=as_),
        lambda: store.get_item("missing", as_=as_),
        lambda: store.get_many(["missing"], as_=as_),
        lambda: store.pop("missing", as_=as_),
        lambda: store.update("a", lambda old: old, as_=as_),
        lambda: store.get_or_create("a", {}, as_=as_),
        lambda: store.get_or_create("new", {}, as_=as_),
        lambda: store.update("new", lambda old: old, {}, as_=as_),
    ):
        with pytest.raises(TypeError, match=name):
            call()
    assert dict(store.items()) == {"a": Item({}, None)}


@pytest.mark.parametrize("read", ["get", "get_item", "get_many", "pop"])
def test_a_value_of_another_type_than_the_keys_counts_as_absent(
    open_store: OpenStore, read: str
) -> None:
    store = open_store("memory")
    store.set("cart:4", {"items": "spoon"})
    assert READS[read](store) is None
    assert store.get("cart:4") == {"items": "spoon"}


@pytest.mark.parametrize("read", ["update", "get_or_create"])
def test_a_value_of_another_type_than_the_keys_is_told(open_store: OpenStore, read: str) -> None:
    store = open_store("memory")
    store.set("cart:4", {"items": "spoon"})
    with pytest.raises(DecodeError, match="'cart:4' is not of the type Cart"):
        READS[read](store)
    assert store.get("cart:4") == {"items": "spoon"}
