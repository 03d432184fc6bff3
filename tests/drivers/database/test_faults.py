"""Databases that are cut off, restarted, read-only or full: told, and the process goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from tests import servers

SERVERS = pytest.mark.parametrize("database", ["postgresql", "mariadb"])


def cut_off(store: Store) -> None:
    """Have the server end the connection of this thread."""
    connection = connections[store.driver.using]  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        query = "pg_backend_pid" if connection.vendor == "postgresql" else "CONNECTION_ID"
        cursor.execute(f"SELECT {query}()")
        [number] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
        else:
            cursor.execute("KILL %s", [number])
    other.close()


CALLS: dict[str, tuple[Callable[[Store], Any], bool]] = {
    "get": (lambda store: store.get("key"), False),
    "contains": (lambda store: "key" in store, False),
    "get_many": (lambda store: store.get_many(["key"]), False),
    "keys": (lambda store: list(store.keys()), False),
    "set": (lambda store: store.set("key", 2), True),
    "create": (lambda store: store.create("new", 2), True),
    "incr": (lambda store: store.incr("key"), True),
    "remove": (lambda store: store.remove("key"), True),
    "set_many": (lambda store: store.set_many({"key": 2}), True),
}


@SERVERS
@pytest.mark.parametrize(("call", "writes"), CALLS.values(), ids=CALLS)
def test_a_cut_connection_is_told_and_the_next_call_works(
    call: Callable[[Store], Any], writes: bool, database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set("key", 1)
    cut_off(store)
    with pytest.raises(StoreUnavailableError) as told:
        call(store)
    assert told.value.maybe_applied is writes
    assert isinstance(told.value, OperationalError)
    assert isinstance(told.value.__cause__, Exception)
    assert store.get("key") == 1


@SERVERS
def test_a_connection_cut_inside_a_transaction_applied_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    with pytest.raises(StoreUnavailableError) as told, transaction.atomic(store.driver.using):  # type: ignore[attr-defined]
        store.set("key", 1)
        cut_off(store)
        store.set("other", 1)
    assert told.value.maybe_applied is False
    assert store.count() == 0


@pytest.fixture
def lonely(django_db_setup: None, django_db_blocker: Any) -> Iterator[servers.PostgreSQL]:
    """A PostgreSQL server of the test's own, with the alias "lonely"."""
    server = servers.PostgreSQL()
    server.start()
    with django_db_blocker.unblock():
        settings = {**connections["postgresql"].settings_dict, "NAME": "postgres"}
        connections.settings["lonely"] = {**settings, "PORT": server.port}
        yield server
        connections["lonely"].close()
        del connections["lonely"], connections.settings["lonely"]
    server.stop()


def test_a_server_that_comes_back_is_used_again(lonely: servers.PostgreSQL) -> None:
    from django.core.management import call_command

    call_command("migrate", database="lonely", verbosity=0)
    store = Store(DatabaseDriver("lonely"))
    store.set("key", 1)
    lonely.kill()
    with pytest.raises(StoreUnavailableError) as told:
        store.set("key", 2)
    assert told.value.maybe_applied is True
    for _ in range(2):
        with pytest.raises(StoreUnavailableError) as told:
            store.set("key", 3)
        assert told.value.maybe_applied is False
    lonely.start()
    assert store.get("key") == 1


def test_a_read_only_database_refuses(database_store: Store) -> None:
    connection = connections[database_store.driver.using]  # type: ignore[attr-defined]
    database_store.set("key", 1)
    on, off = {
        "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
        "postgresql": (
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off",
        ),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
    try:
        with pytest.raises(StoreUnavailableError) as told:
            database_store.set("key", 2)
        assert told.value.maybe_applied is False
        assert database_store.get("key") == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute(off)


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_full_disk_refuses(database: str, open_store: Callable[..., Store]) -> None:
    store = open_store(database)
    store.set("key", 1)
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        [pages] = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages + 2}")
    try:
        with pytest.raises(StoreUnavailableError) as told:
            store.set("large", "x" * 1_000_000)
        assert told.value.maybe_applied is False
        assert store.get("key") == 1
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")


def test_a_missing_table_stays_the_error_that_it_is(
    database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = database_store.driver.sql  # type: ignore[attr-defined]
    monkeypatch.setattr(sql, "get", sql.get.replace("django_persist_entry", "nowhere"))
    with pytest.raises((ProgrammingError, OperationalError)) as told:
        database_store.get("key")
    assert not isinstance(told.value, StoreUnavailableError)
