"""On every server, a value reads back as what it was, or is refused before anything is written."""

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

TYPES: Final[list[Any]] = [
    *(list[dt.datetime], list[dt.date], list[dt.time], list[dt.timedelta], list[Decimal]),
    *(dict[UUID, dt.date], dict[int, str], dict[dt.date, int], dict[Color, int]),
    *(set[int], frozenset[str], set[UUID], tuple[int, str], tuple[float, ...], list[bytes]),
    *(int | None, list[int | str | None], Color, Level, Pair, Point, Movie, Task, Pets, Everything),
]

# Each of these writes a value under its own name as the key.
WRITES: Final[dict[str, Callable[[Store, Any], object]]] = {
    "create": lambda store, value: store.create("create", value),
    "set": lambda store, value: store.set("set", value),
    "set KEEP": lambda store, value: store.set("set KEEP", value, expires=KEEP),
    "set_many": lambda store, value: store.set_many({"other": 1, "set_many": value}),
    "update": lambda store, value: store.update("update", lambda old: value, None),
    "get_or_create": lambda store, value: store.get_or_create("get_or_create", lambda: value),
}

# Each of these writes a value to a store that contains an entry "a".
REFUSED_WRITES: Final[list[Callable[[Store, Any], object]]] = [
    lambda store, value: store.create("new", value),
    lambda store, value: store.set("a", value),
    lambda store, value: store.set("a", value, expires=KEEP),
    lambda store, value: store.set_many({"new": 1, "a": value, "b": 2}),
    lambda store, value: store.update("a", lambda old: value),
    lambda store, value: store.update("new", lambda old: 1, lambda: value),
    lambda store, value: store.update("new", lambda old: value, 1),
    lambda store, value: store.get_or_create("new", lambda: value),
]


def is_accepted(store: Store, value: Any) -> bool:
    """Write a value with every call that writes; return whether all of them accepted it."""
    store.clear()
    try:
        codec.encode(value)
    except EncodeError:
        store.set("a", "old")
        for write in REFUSED_WRITES:
            with pytest.raises(EncodeError):
                write(store, value)
        assert dict(store.items()) == {"a": Item("old", None)}
        assert store.remove("a")
        return False
    for write in WRITES.values():
        write(store, value)
    return True


def assert_reads_back(store: Store, is_right: Callable[[Any], bool], as_: Any) -> None:
    """Check what every call that reads returns for what every call that writes has stored."""
    many = store.get_many(list(WRITES), as_=as_, strict=True)
    assert many.keys() == WRITES.keys()
    for key in WRITES:
        item = store.get_item(key, as_=as_, strict=True)
        assert item is not None and item.expires_at is None
        for value in (item.value, many[key], store.get(key, as_=as_, strict=True)):
            assert is_right(value)
        assert is_right(store.get_or_create(key, 1, as_=as_)[0])
        # pop() compares the entry with the text that it has read.
        assert is_right(store.pop(key, as_=as_, strict=True))
        assert key not in store


@pytest.fixture
def bounded(server: str) -> settings:
    """How many examples to try: what drivers share is tried in memory, the rest needs few."""
    number = 40 if server == "memory" else 15
    return settings(max_examples=examples(number), suppress_health_check=[HealthCheck.too_slow])


def test_any_value_reads_back_as_its_json(store: Store, bounded: settings) -> None:
    @bounded
    @given(value=plain_json | anything)
    def reads_back(value: Any) -> None:
        if is_accepted(store, value):
            plain = as_json(value)
            listed = dict(store.items())
            assert listed.keys() == {*WRITES, "other"}
            assert all(same(listed[key].value, plain) for key in WRITES)
            assert all(listed[key].expires_at is None for key in WRITES)
            assert_reads_back(store, lambda back: same(back, plain), None)

    reads_back()


def test_any_object_reads_back_as_itself(store: Store, bounded: settings) -> None:
    @bounded
    @given(value=structured(leaves))
    def reads_back(value: Any) -> None:
        if is_accepted(store, value):
            assert_reads_back(store, lambda back: is_itself(value, back), type(value))

    reads_back()


def test_any_value_of_a_type_reads_back_as_that_type(store: Store, bounded: settings) -> None:
    @bounded
    @given(typed=st.sampled_from(TYPES).flatmap(lambda t: st.tuples(st.from_type(t), st.just(t))))
    def reads_back(typed: tuple[Any, Any]) -> None:
        value, type_ = typed
        if is_accepted(store, value):
            assert_reads_back(store, lambda back: same(back, value), type_)

    reads_back()
