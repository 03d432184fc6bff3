"""Django's private conversion of placeholders for SQLite, which the driver replaces for speed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from django_persist import KEEP, Store
from django_persist.drivers.database.statements.rows import has_known_convert_query

CONVERT = SQLiteCursorWrapper.convert_query


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store("sqlite")


@pytest.fixture(autouse=True)
def forget_cursor_classes() -> Iterator[None]:
    """Let the driver look at Django's class again, and again after the test."""
    has_known_convert_query.cache_clear()
    yield
    has_known_convert_query.cache_clear()


def assert_many_can_be_written(store: Store) -> None:
    values = {f"key:{n}": "100 % of %s?" for n in range(10)}
    store.set_many(values)
    store.set_many(values, expires=KEEP)
    assert store.driver.create_many([("key:1", b"1", None), ("new", b"2", None)]) == ["key:1"]
    assert store.get_many([*values, "new"]) == {**values, "new": 2}


def test_this_django_converts_placeholders_by_the_method_that_the_driver_replaces() -> None:
    """If this fails, a new Django has changed its private method. The driver still works, but
    `set_many` is slower on SQLite. Look at SQLiteCursorWrapper.execute and at `execute_rows`.
    """
    assert has_known_convert_query(SQLiteCursorWrapper)
    cursor: Any = object()
    assert CONVERT(cursor, "VALUES (%s, %s)", param_names=None) == "VALUES (?, ?)"


def test_django_converts_no_placeholders_of_many_rows(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("sqlite", OPTIONS={"direct": False})
    store.set("warm", 1)  # what a first connection sends
    converted = []

    @wraps(CONVERT)
    def spy(self: Any, query: str, **kwargs: Any) -> str:
        converted.append(query)
        return CONVERT(self, query, **kwargs)

    monkeypatch.setattr(SQLiteCursorWrapper, "convert_query", spy)
    store.get("key")
    assert len(converted) == 1
    store.set_many({"key": 1, "other": 2})
    store.set_many({"key": 1, "other": 2}, expires=KEEP)
    store.driver.create_many([("key", b"1", None)])
    assert len(converted) == 1


def test_a_django_whose_method_takes_other_arguments_converts_by_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(self: Any, query: str, names: Any, style: str) -> str:
        assert style == "qmark"
        return CONVERT(self, query, param_names=names)

    def execute(self: Any, query: str, params: Any = None) -> Any:
        if params is None:
            return sqlite3.Cursor.execute(self, query)
        names = list(params) if isinstance(params, dict) else None
        return sqlite3.Cursor.execute(self, self.convert_query(query, names, "qmark"), params)

    monkeypatch.setattr(SQLiteCursorWrapper, "convert_query", convert)
    monkeypatch.setattr(SQLiteCursorWrapper, "execute", execute)
    assert not has_known_convert_query(SQLiteCursorWrapper)
    assert_many_can_be_written(store)


def test_a_django_without_the_method_converts_by_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(self: Any, query: str, params: Any = None) -> Any:
        if params is None:
            return sqlite3.Cursor.execute(self, query)
        names = list(params) if isinstance(params, dict) else None
        return sqlite3.Cursor.execute(self, CONVERT(self, query, param_names=names), params)

    monkeypatch.delattr(SQLiteCursorWrapper, "convert_query")
    monkeypatch.setattr(SQLiteCursorWrapper, "execute", execute)
    assert not has_known_convert_query(SQLiteCursorWrapper)
    assert_many_can_be_written(store)


def test_a_backend_keeps_a_method_of_its_own() -> None:
    class Cursor(SQLiteCursorWrapper):
        def convert_query(self, query: str, *, param_names: Any = None) -> str:
            return super().convert_query(query, param_names=param_names)

    assert not has_known_convert_query(Cursor)
    assert not has_known_convert_query(sqlite3.Cursor)
