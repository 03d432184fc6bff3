"""The first call of a process is one query, like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.conftest import MYSQLS


@pytest.mark.parametrize("call", ["get", "set", "incr", "get_many"])
def test_the_first_call_is_one_query(
    database: str, call: str, open_store: Callable[..., Store]
) -> None:
    used = open_store(database)
    used.get("connected")
    fresh = Store(DatabaseDriver(used.driver.using))  # type: ignore[attr-defined]
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: fresh.get("key"),
        "set": lambda: fresh.set("key", "a value of some length" * 100),
        "incr": lambda: fresh.incr("counter"),
        "get_many": lambda: fresh.get_many(["key", "other"]),
    }
    with CaptureQueriesContext(connections[used.driver.using]) as captured:  # type: ignore[attr-defined]
        calls[call]()
    assert len(captured) == 1, captured.captured_queries


@pytest.mark.parametrize("database", MYSQLS)
def test_max_allowed_packet_is_read_when_a_large_write_needs_it(
    database: str, open_store: Callable[..., Store]
) -> None:
    """The query is not in Django's log, so that counting queries wouldn't find it."""
    open_store(database)
    driver = DatabaseDriver(database)
    store = Store(driver)
    store.set("key", 1)
    assert store.get_many(["key", "other"]) == {"key": 1}
    assert store.incr("key") == 2
    assert "packet" not in vars(driver.sql)
    store.set("key", "x" * 100_000)
    assert "packet" in vars(driver.sql)
