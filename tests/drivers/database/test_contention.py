"""The database driver against other writers: retried outside a transaction, told inside one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import Store
from django_persist.exceptions import ContentionError, DuplicateKeyError
from tests.conftest import leave_expired

SERVERS = pytest.mark.parametrize("database", ["postgresql", "mariadb"])


def using(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


def elsewhere(function: Callable[..., Any], *args: Any) -> None:
    """Call it on another connection, and wait for it."""
    thread = start(function, *args)
    thread.join(30)
    assert not thread.is_alive()


def start(function: Callable[..., Any], *args: Any) -> threading.Thread:
    def work() -> None:
        try:
            function(*args)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@contextmanager
def isolated(store: Store, level: str) -> Iterator[None]:
    """A transaction at an isolation level."""
    connection = connections[using(store)]
    statement = f"SET TRANSACTION ISOLATION LEVEL {level}"
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(statement)
    with transaction.atomic(using(store)):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(statement)
        yield


LEVELS = pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])

CALLS: dict[str, Callable[[Store], Any]] = {
    "create": lambda store: store.create("key", [3]),
    "set": lambda store: store.set("key", [3]),
    "update": lambda store: store.update("key", lambda value: [*value, 3], []),
    "pop": lambda store: store.pop("key"),
    "get_or_create": lambda store: store.get_or_create("key", [3]),
    "incr": lambda store: store.incr("number"),
    "remove": lambda store: store.remove("key"),
    "set_many": lambda store: store.set_many({"key": [3], "number": 5}),
}


@SERVERS
@LEVELS
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_inside_a_transaction_a_call_sees_the_latest_or_is_told(
    call: Callable[[Store], Any], level: str, database: str, open_store: Callable[..., Store]
) -> None:
    """Another writer comes after this transaction's first read. No call may go on for ever, none
    may overwrite what it did not see, and a transaction that lost commits nothing.
    """
    store = open_store(database)
    store.set_many({"key": [0], "number": 1})
    other = {"key": [1], "number": 2}

    def write() -> None:
        with transaction.atomic(using(store)):
            store.set_many(other)

    def write_or_lose() -> None:
        with suppress(ContentionError):
            write()

    try:
        with isolated(store, level):
            store.set("mine", 1)
            store.get("key")
            if database == "mariadb" and level == "SERIALIZABLE":
                # Its reads lock: the other writer would wait for the end of this transaction, and
                # where both wait, either may be the one that is told.
                thread = start(write_or_lose)
            else:
                elsewhere(write)
                thread = None
            outcome = call(store)
    except ContentionError:
        # PostgreSQL tells a transaction whose snapshot is old; MariaDB reads past it.
        assert level == "SERIALIZABLE" or (database, level) == ("postgresql", "REPEATABLE READ")
        assert store.get("mine") is None
    except DuplicateKeyError:
        assert call is CALLS["create"]
    else:
        assert store.get("mine") == 1
        if thread is None and call is CALLS["update"]:
            assert outcome == [1, 3]
        if thread is None and call is CALLS["incr"]:
            assert outcome == 3
        if thread is None and call is CALLS["pop"]:
            assert outcome == [1]
    if thread is not None:
        thread.join(30)


@SERVERS
def test_a_deadlock_inside_a_transaction_is_told_and_commits_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set_many({"a": 0, "b": 0})
    met = threading.Barrier(2)
    lost: list[BaseException] = []
    stored = []

    def write(name: str, first: str, second: str) -> None:
        try:
            with transaction.atomic(using(store)):
                store.set(first, name)
                met.wait(10)
                try:
                    store.set(second, name)
                except ContentionError as error:
                    lost.append(error)  # a caller who swallows it still can't commit by half
            stored.append(name)
        except OperationalError as error:
            lost.append(error)

    one, two = start(write, "one", "a", "b"), start(write, "two", "b", "a")
    one.join(30)
    two.join(30)
    assert any(isinstance(error, ContentionError) for error in lost)
    assert all(isinstance(error, OperationalError) for error in lost)
    assert store.get("a") == store.get("b") != 0


@SERVERS
def test_a_deadlock_inside_a_savepoint_undoes_no_less_than_the_savepoint(
    database: str, open_store: Callable[..., Store]
) -> None:
    """MariaDB undoes the whole transaction: then the block outside may not go on."""
    store = open_store(database)
    store.set_many({"a": 0, "b": 0})
    met = threading.Barrier(2)
    stored = []

    def write(name: str, first: str, second: str) -> None:
        with suppress(OperationalError, transaction.TransactionManagementError):
            with transaction.atomic(using(store)):
                store.set(f"{name}:before", 1)
                store.set(first, name)
                met.wait(10)
                with suppress(ContentionError), transaction.atomic(using(store)):
                    store.set(f"{name}:inside", 1)
                    store.set(second, name)
                store.set(f"{name}:after", 1)
            stored.append(name)

    threads = [start(write, "one", "a", "b"), start(write, "two", "b", "a")]
    for thread in threads:
        thread.join(30)
    assert stored
    for name, second in (("one", "b"), ("two", "a")):
        there = sorted(key.split(":")[1] for key in store.keys(f"{name}:"))
        if name not in stored:
            assert there == []
        elif "inside" in there:
            assert there == ["after", "before", "inside"]
            assert store.get(second) == name
        else:
            assert there == ["after", "before"]


@contextmanager
def lock_held(store: Store, seconds: float) -> Iterator[None]:
    """Another transaction that has written the key, and ends after a while."""
    held = threading.Event()

    def hold() -> None:
        with transaction.atomic(using(store)):
            store.set("key", "other")
            held.set()
            time.sleep(seconds)

    thread = start(hold)
    assert held.wait(10)
    yield
    thread.join(30)


def short_patience(store: Store) -> None:
    """Let this connection wait for locks much shorter than the other transaction lasts."""
    connection = connections[using(store)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET lock_timeout = '20ms'")
        elif connection.vendor == "mysql":
            cursor.execute("SET innodb_lock_wait_timeout = 0")
        else:
            cursor.execute("PRAGMA busy_timeout = 20")


def test_a_lock_that_goes_is_waited_for(database_store: Store) -> None:
    def write() -> None:
        short_patience(database_store)
        database_store.set("key", "mine")

    with lock_held(database_store, 0.3):
        elsewhere(write)
    assert database_store.get("key") == "mine"


def test_a_lock_that_stays_ends_in_an_error(
    database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_persist.drivers.database.connection.SECONDS", 0.1)
    told: list[BaseException] = []

    def write() -> None:
        short_patience(database_store)
        try:
            database_store.set("key", "mine")
        except ContentionError as error:
            told.append(error)

    with lock_held(database_store, 1):
        elsewhere(write)
    assert len(told) == 1 and isinstance(told[0], OperationalError) and told[0].__cause__
    assert database_store.get("key") == "other"


def test_a_lock_inside_a_transaction_is_told(database_store: Store) -> None:
    told: list[BaseException] = []

    def write() -> None:
        short_patience(database_store)
        try:
            with transaction.atomic(using(database_store)):
                database_store.get("key")
                database_store.set("key", "mine")
        except ContentionError as error:
            told.append(error)

    with lock_held(database_store, 0.5):
        elsewhere(write)
    assert len(told) == 1
    assert database_store.get("key") == "other"


@SERVERS
def test_a_purge_skips_the_rows_that_others_hold(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    leave_expired(store, {"key": "held", "other": "free"})
    with lock_held(store, 0.5):
        started = time.monotonic()
        assert store.purge() == 1
        waited = time.monotonic() - started
    assert waited < 0.5
    assert store.get("key") == "other"
