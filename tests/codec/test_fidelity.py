"""A value is stored as what it is, or refused before anything is written: on every server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_persist import KEEP, Item, Store, codec
from django_persist.exceptions import EncodeError
from tests.codec.sameness import same
from tests.codec.types import Color, Everything, Level, Movie, Pair, Pets, Point, Task
from tests.codec.values import anything, as_json, is_itself, leaves, plain_json, structured
from tests.extent import examples

bounded = settings(
    max_examples=examples(40),
    # Each example begins with an empty store.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

FORMS: Final[list[Any]] = [
    *(list[dt.datetime], list[dt.date], list[dt.time], list[dt.timedelta], list[Decimal]),
    *(dict[UUID, dt.date], dict[int, str], dict[dt.date, int], dict[Color, int]),
    *(set[int], frozenset[str], set[UUID], tuple[int, str], tuple[float, ...], list[bytes]),
    *(int | None, list[int | str | None], Color, Level, Pair, Point, Movie, Task, Pets, Everything),
]

# Each stores a value under a key of its own.
ACCEPTING: Final[dict[str, Callable[[Store, Any], object]]] = {
    "create": lambda store, value: store.create("create", value),
    "set": lambda store, value: store.set("set", value),
    "set KEEP": lambda store, value: store.set("set KEEP", value, expires=KEEP),
    "set_many": lambda store, value: store.set_many({"other": 1, "set_many": value}),
    "update": lambda store, value: store.update("update", lambda old: value, None),
    "get_or_create": lambda store, value: store.get_or_create("get_or_create", lambda: value),
}

# Each writes a value where something else is, or would be.
REFUSING: Final[list[Callable[[Store, Any], object]]] = [
    lambda store, value: store.create("new", value),
    lambda store, value: store.set("a", value),
    lambda store, value: store.set("a", value, expires=KEEP),
    lambda store, value: store.set_many({"new": 1, "a": value, "b": 2}),
    lambda store, value: store.update("a", lambda old: value),
    lambda store, value: store.update("new", lambda old: 1, lambda: value),
    lambda store, value: store.update("new", lambda old: value, 1),
    lambda store, value: store.get_or_create("new", lambda: value),
]


def is_taken(store: Store, value: Any) -> bool:
    """Have every call that writes write a value; return whether they took it, as one."""
    store.clear()
    try:
        codec.encode(value)
    except EncodeError:
        store.set("a", "old")
        for write in REFUSING:
            with pytest.raises(EncodeError):
                write(store, value)
        assert dict(store.items()) == {"a": Item("old", None)}
        assert store.remove("a")
        return False
    for write in ACCEPTING.values():
        write(store, value)
    return True


def reads_back(store: Store, is_right: Callable[[Any], bool], as_: Any) -> None:
    """Hold what every call that reads makes of what every call that writes has stored."""
    many = store.get_many(list(ACCEPTING), as_=as_, strict=True)
    assert many.keys() == ACCEPTING.keys()
    for key in ACCEPTING:
        item = store.get_item(key, as_=as_, strict=True)
        assert item is not None and item.expires_at is None
        for value in (item.value, many[key], store.get(key, as_=as_, strict=True)):
            assert is_right(value)
        assert is_right(store.get_or_create(key, 1, as_=as_)[0])
        # What is read again is what compare-and-swap looks for.
        assert is_right(store.pop(key, as_=as_, strict=True))
        assert key not in store


@bounded
@given(value=plain_json | anything)
def test_any_value_reads_back_as_its_json(store: Store, value: Any) -> None:
    if is_taken(store, value):
        plain = as_json(value)
        listed = dict(store.items())
        assert listed.keys() == {*ACCEPTING, "other"}
        assert all(same(listed[key], Item(plain, None)) for key in ACCEPTING)
        reads_back(store, lambda back: same(back, plain), None)


@bounded
@given(value=structured(leaves))
def test_any_object_reads_back_as_itself(store: Store, value: Any) -> None:
    if is_taken(store, value):
        reads_back(store, lambda back: is_itself(value, back), type(value))


@bounded
@given(typed=st.sampled_from(FORMS).flatmap(lambda f: st.tuples(st.from_type(f), st.just(f))))
def test_any_value_of_a_type_reads_back_as_that_type(store: Store, typed: tuple[Any, Any]) -> None:
    value, form = typed
    if is_taken(store, value):
        reads_back(store, lambda back: same(back, value), form)
