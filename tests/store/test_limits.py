"""The longest keys, the deepest values and the largest, on every server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from django_persist import Item, Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import DecodeError, EncodeError, ValueTooLargeError
from tests.codec.types import Tree
from tests.conftest import OpenStore

Stack = Callable[[Callable[[], None]], None]

SMALL_STACK = 512 * 1024 if sys.version_info < (3, 13) else 4 * 1024 * 1024
"""Less than the default of a thread on Linux. Since Python 3.13 C code may recurse so deep that
its own json module needs more than 1 MB."""


@pytest.fixture(params=[None, SMALL_STACK], ids=["main", "small stack"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Return a function that runs another one: in this thread, or in one with a small stack."""
    if request.param is None:
        yield lambda work: work()
        return

    def in_thread(work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(run).result()

    before = threading.stack_size(request.param)
    yield in_thread
    threading.stack_size(before)


# Keys.

WIDE = "😀"
"""Four bytes in UTF-8."""


@pytest.fixture
def narrow_store(open_store: OpenStore, server: str) -> Store:
    """A store whose PREFIX and namespaces leave 53 of 319 characters for keys."""
    store = open_store(server, PREFIX=WIDE * 64)
    return store.namespace(WIDE * 100).namespace(WIDE * 100)


def test_the_longest_key_of_the_widest_characters_takes_every_call(narrow_store: Store) -> None:
    store = narrow_store
    key, beside = WIDE * 53, WIDE * 52 + "😁"
    store.create(beside, "beside")
    store.create(key, 1, expires=3600)
    assert store.get(key) == 1
    assert store.incr(key) == 2
    assert store.update(key, lambda old: old + 1) == 3
    assert store.get_or_create(key, 0) == (3, False)
    store.set(key, [4])
    assert store.get_item(key) == Item([4], None)
    assert store.touch(key, 60)
    assert key in store
    assert sorted(store.keys(WIDE * 52)) == [key, beside]
    assert [found for found, _ in store.items(key)] == [key]
    assert store.count(key) == 1
    assert store.pop(key) == [4]
    assert not store.remove(key)
    assert store.clear(key) == 0
    assert dict(store.items()) == {beside: Item("beside", None)}


def test_many_of_the_longest_keys_go_into_one_call(narrow_store: Store) -> None:
    keys = [f"{WIDE * 47}{number:06}" for number in range(2500)]
    narrow_store.set_many(dict.fromkeys(keys, 1))
    assert narrow_store.get_many(keys) == dict.fromkeys(keys, 1)
    assert sorted(narrow_store.keys()) == keys
    assert narrow_store.remove_many(keys) == len(keys)
    assert narrow_store.count() == 0


# Depth.


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"deeper": value}
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {"list": []}
    value["list"].append(value)
    return value


WRITES: list[Callable[[Store, Any], object]] = [
    lambda store, value: store.create("new", value),
    lambda store, value: store.set("a", value),
    lambda store, value: store.set_many({"new": 1, "a": value}),
    lambda store, value: store.update("a", lambda old: value),
    lambda store, value: store.update("new", lambda old: old, value),
    lambda store, value: store.get_or_create("new", value),
]


def test_a_value_nested_200_deep_is_stored(store: Store) -> None:
    value = nested(200)
    for number, write in enumerate(WRITES[1:4]):
        store.set("a", "old")
        write(store, value)
        assert store.get("a") == value, number
    assert store.pop("a") == value


@pytest.mark.parametrize(
    "value", [nested(201), nested(100_000), cyclic()], ids=["201", "100,000", "cyclic"]
)
def test_a_deeper_value_is_refused_by_every_write(store: Store, value: Any, stack: Stack) -> None:
    def write_all() -> None:
        for write in WRITES:
            with pytest.raises(EncodeError):
                write(store, value)

    store.set("a", "old")
    stack(write_all)
    assert dict(store.items()) == {"a": Item("old", None)}


READS: list[Callable[[Store], object]] = [
    lambda store: store.get("a"),
    lambda store: store.get("a", as_=list[Any]),
    lambda store: store.get("a", as_=Tree),
    lambda store: store.get("a", as_=int),
    lambda store: store.get_item("a"),
    lambda store: store.get_many(["a"]),
    lambda store: list(store.items()),
    lambda store: store.pop("a"),
    lambda store: store.pop("a", as_=Tree),
    lambda store: store.update("a", lambda old: 1),
    lambda store: store.get_or_create("a", 1),
    lambda store: store.incr("a"),
]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"name":"","children":[' * 100_000 + b"]}" * 100_000,
        b"[" * 100_000,
    ],
    ids=["lists", "objects", "unclosed"],
)
def test_stored_text_that_is_nested_too_deep_is_an_error(
    store: Store, text: bytes, stack: Stack
) -> None:
    def read_all() -> None:
        for read in READS:
            with pytest.raises(DecodeError, match="'a'"):
                read(store)

    store.driver.set("a", text, None)
    stack(read_all)
    assert list(store.keys()) == ["a"]
    store.set("a", "repaired")
    assert store.get("a") == "repaired"


# Size.


def test_a_value_of_40_mb_is_stored_or_refused_before_it_is_sent(store: Store) -> None:
    value = "x" * 40_000_000
    store.set("a", "old")
    most = packet(store)
    if most is not None and most < len(value):
        connection = connections[store.driver.using].connection  # type: ignore[attr-defined]
        session = connection.thread_id()
        for write in WRITES[1:4]:
            with pytest.raises(ValueTooLargeError, match="max_allowed_packet"):
                write(store, value)
        # If it had been sent, the server would have closed the connection.
        assert connection.thread_id() == session
        assert dict(store.items()) == {"a": Item("old", None)}
        return
    store.set("a", value, expires=3600)
    # Compared outside the assertion, which would print both.
    found = store.get("a") == value
    assert found


def packet(store: Store) -> int | None:
    """Return how many bytes a statement may have on the server, or None without a limit."""
    return store.driver.sql.packet if isinstance(store.driver, DatabaseDriver) else None
