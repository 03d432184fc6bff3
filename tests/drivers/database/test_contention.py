"""The database driver against other writers: it retries outside a transaction, or raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import ContentionError, DuplicateKeyError, InvalidStoreError
from tests.conftest import DATABASE_SERVERS, MYSQLS, leave_expired

pytestmark = pytest.mark.usefixtures("way")

SERVERS = pytest.mark.parametrize("database", DATABASE_SERVERS)


def using(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


def elsewhere(function: Callable[..., Any], *args: Any) -> None:
    """Call it on another connection, and wait for it to end."""
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


def version_of(value: Any) -> str:
    """Return the version that an entry with this value has in every store."""
    store = Store(MemoryDriver("versions"))
    store.set("key", value)
    item = store.get_item("key")
    assert item is not None
    return item.version


CALLS: dict[str, Callable[[Store], Any]] = {
    "create": lambda store: store.create("key", [3]),
    "replace": lambda store: store.replace("key", [3], version_of([1])),
    "remove, with a version": lambda store: store.remove("key", version=version_of([1])),
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
def test_a_call_inside_a_transaction_sees_the_latest_value_or_raises(
    call: Callable[[Store], Any], level: str, database: str, open_store: Callable[..., Store]
) -> None:
    """Another writer follows the first read of this transaction. No call may run without end or
    overwrite what it did not see, and a transaction that lost commits nothing.
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
            if database in MYSQLS and level == "SERIALIZABLE":
                # Its reads lock: the other writer would wait for the end of this transaction. If
                # both wait, either may be the one that loses.
                thread = start(write_or_lose)
            else:
                elsewhere(write)
                thread = None
            outcome = call(store)
    except ContentionError:
        # On PostgreSQL a transaction with an old snapshot loses; MariaDB and MySQL read past it.
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
        if thread is None and call in (CALLS["replace"], CALLS["remove, with a version"]):
            assert outcome is True  # Both know the value that the other writer has stored.
    if thread is not None:
        thread.join(30)


def find_deadlocks_quickly(store: Store) -> None:
    """Don't let this connection wait for a second before PostgreSQL looks for a deadlock."""
    connection = connections[using(store)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '50ms'")


@SERVERS
def test_a_deadlock_inside_a_transaction_raises_and_commits_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set_many({"a": 0, "b": 0})
    met = threading.Barrier(2)
    lost: list[BaseException] = []
    stored = []

    def write(name: str, first: str, second: str) -> None:
        try:
            find_deadlocks_quickly(store)
            with transaction.atomic(using(store)):
                store.set(first, name)
                met.wait(10)
                try:
                    store.set(second, name)
                except ContentionError as error:
                    lost.append(error)  # a caller that swallows it still can't commit half
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
def test_a_deadlock_inside_a_savepoint_undoes_at_least_the_savepoint(
    database: str, open_store: Callable[..., Store]
) -> None:
    """MariaDB and MySQL undo the whole transaction. Then the outer block must not continue."""
    store = open_store(database)
    store.set_many({"a": 0, "b": 0})
    met = threading.Barrier(2)
    stored = []

    def write(name: str, first: str, second: str) -> None:
        find_deadlocks_quickly(store)
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
def lock_held(store: Store) -> Iterator[threading.Event]:
    """Another transaction that has written the key, and ends at the event or after the block."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using(store)):
            store.set("key", "other")
            held.set()
            release.wait(30)

    thread = start(hold)
    assert held.wait(10)
    try:
        yield release
    finally:
        release.set()
        thread.join(30)


def short_patience(store: Store) -> None:
    """Let this connection wait for locks only briefly, so that it loses while the lock is held."""
    connection = connections[using(store)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET lock_timeout = '20ms'")
        elif connection.vendor == "mysql":
            cursor.execute("SET innodb_lock_wait_timeout = 0")
        else:
            cursor.execute("PRAGMA busy_timeout = 20")


def counting(database_store: Store, write: Callable[[], object]) -> tuple[int, list[BaseException]]:
    """Return how often a write met a lock, and what it raised at last."""
    lost, errors = 0, list[BaseException]()

    def counted(execute: Callable[..., Any], *args: Any) -> Any:
        nonlocal lost
        try:
            return execute(*args)
        except OperationalError:
            lost += 1
            raise

    def run() -> None:
        short_patience(database_store)
        with connections[using(database_store)].execute_wrapper(counted):
            try:
                write()
            except ContentionError as error:
                errors.append(error)

    elsewhere(run)
    return lost, errors


def test_a_server_that_has_waited_for_a_lock_is_not_asked_again(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    options = connections[using(store)].settings_dict["OPTIONS"]
    before = dict(options)
    if database == "sqlite":  # It has waited once the option `timeout` is over.
        options["timeout"] = 0.02
    try:
        with lock_held(store):
            lost, errors = counting(store, lambda: store.set("key", "mine"))
    finally:
        options |= before
    assert (lost, len(errors)) == (1, 1)
    assert isinstance(errors[0], OperationalError)
    assert "as long as its settings say" in str(errors[0])
    assert store.get("key") == "other"


def test_a_lock_that_the_server_does_not_wait_for_is_tried_again(
    open_store: Callable[..., Store],
) -> None:
    store = open_store("sqlite")
    tries = 0

    def release_later(execute: Callable[..., Any], *args: Any) -> Any:
        nonlocal tries
        try:
            return execute(*args)
        except OperationalError:
            tries += 1
            if tries == 2:
                release.set()
            raise

    def write() -> None:
        short_patience(store)
        with connections[using(store)].execute_wrapper(release_later):
            store.set("key", "mine")

    with lock_held(store) as release:
        elsewhere(write)
    assert tries >= 2
    assert store.get("key") == "mine"


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_retry_seconds_bounds_the_tries(open_store: Callable[..., Store], seconds: float) -> None:
    store = open_store("sqlite", OPTIONS={"using": "default", "retry_seconds": seconds})
    started = time.monotonic()
    with lock_held(store):
        lost, errors = counting(store, lambda: store.set("key", "mine"))
    assert lost >= 1
    assert (lost > 1) is (seconds > 0)
    assert len(errors) == 1 and isinstance(errors[0], OperationalError) and errors[0].__cause__
    assert time.monotonic() - started < 5
    assert store.get("key") == "other"


def test_tries_end_before_web_servers_kill_a_worker() -> None:
    """gunicorn's default is 30 seconds."""
    assert signature(DatabaseDriver).parameters["retry_seconds"].default == 10


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), True, "10", None], ids=repr)
def test_a_retry_seconds_that_is_no_bound_is_rejected(seconds: Any) -> None:
    with pytest.raises(InvalidStoreError, match="retry_seconds must") as caught:
        DatabaseDriver("default", retry_seconds=seconds)
    assert caught.value.id == "django_persist.E004"


def test_a_lock_inside_a_transaction_raises(database_store: Store) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        short_patience(database_store)
        try:
            with transaction.atomic(using(database_store)):
                database_store.get("key")
                database_store.set("key", "mine")
        except ContentionError as error:
            errors.append(error)

    with lock_held(database_store):
        elsewhere(write)
    assert len(errors) == 1
    assert database_store.get("key") == "other"


@SERVERS
def test_a_purge_skips_rows_that_others_have_locked(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    leave_expired(store, {"key": "held", "other": "free"})
    with lock_held(store):
        started = time.monotonic()
        assert store.purge() == 1
        waited = time.monotonic() - started
    assert waited < 0.5
    assert store.get("key") == "other"
