"""Servers that end a session, or themselves: told, and the process goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias
from tests.drivers.database.conftest import Own
from tests.drivers.database.test_cut import once_done

SERVERS = pytest.mark.parametrize("database", ["postgresql", "mariadb"])


def using(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


def cut_off(store: Store) -> None:
    """Have the server end the connection of this thread."""
    connection = connections[using(store)]
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
    "get_many": (lambda store: store.get_many(["key"]), False),
    "keys": (lambda store: list(store.keys()), False),
    "set": (lambda store: store.set("key", 2), True),
    "incr": (lambda store: store.incr("key"), True),
    "set_many": (lambda store: store.set_many({"key": 2}), True),
}


@SERVERS
@pytest.mark.parametrize(("call", "writes"), CALLS.values(), ids=CALLS)
def test_a_session_that_was_ended_is_told_and_the_next_call_works(
    call: Callable[[Store], Any], writes: bool, database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set("key", 1)
    cut_off(store)
    with pytest.raises(StoreUnavailableError, match="cut off") as told:
        call(store)
    assert told.value.maybe_applied is writes
    assert isinstance(told.value, OperationalError)
    assert isinstance(told.value.__cause__, Exception)
    assert store.get("key") == 1


@SERVERS
def test_a_session_that_was_ended_inside_a_transaction_applied_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    with pytest.raises(StoreUnavailableError) as told, transaction.atomic(database):
        store.set("key", 1)
        cut_off(store)
        store.set("other", 1)
    assert told.value.maybe_applied is False
    assert store.count() == 0


IDLE = {
    "postgresql": "SET idle_in_transaction_session_timeout = '50ms'",
    "mariadb": "SET SESSION idle_transaction_timeout = 1",
}


@SERVERS
def test_a_transaction_that_idled_for_too_long_applied_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    with connections[database].cursor() as cursor:
        cursor.execute(IDLE[database])
    with (
        pytest.raises(StoreUnavailableError, match="cut off") as told,
        transaction.atomic(database),
    ):
        store.set("key", 1)
        time.sleep(0.2 if database == "postgresql" else 1.5)
        store.set("other", 1)
    assert told.value.maybe_applied is False
    assert store.count() == 0


def test_a_server_that_comes_back_is_used_again(own: Own) -> None:
    store = Store(DatabaseDriver(own.alias))
    store.set("key", 1)
    own.server.kill()
    with pytest.raises(StoreUnavailableError, match="cut off") as told:
        store.set("key", 2)
    assert told.value.maybe_applied is True
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="could not be reached") as told:
            store.set("key", 3)
        assert told.value.maybe_applied is False
    own.server.start()
    assert store.get("key") == 1


def test_a_server_that_stops_within_a_transaction_applied_nothing(own: Own) -> None:
    store = Store(DatabaseDriver(own.alias))
    # Django connects anew at the end of the block, and that it can't is what it then says.
    with pytest.raises(OperationalError), transaction.atomic(own.alias):
        store.set("key", 1)
        own.server.stop()
        with pytest.raises(StoreUnavailableError) as told:
            store.set("key", 2)
        assert told.value.maybe_applied is False
    own.server.start()
    assert store.get("key") is None


@pytest.mark.parametrize(("done", "doubtful"), [(1, False), (2, True)])
def test_a_server_that_stops_in_the_middle_of_a_set_many_is_told(
    done: int, doubtful: bool, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its COMMIT is sent nothing can stand, whatever Django meets when it connects anew."""
    monkeypatch.setattr("django_persist.drivers.database.statements.rows.CHUNK_KEYS", 2)
    store = Store(DatabaseDriver(own.alias))
    store.set("a", 1)
    with (
        pytest.raises(StoreUnavailableError, match="cut off") as told,
        once_done(own.alias, done, own.server.stop),
    ):
        store.set_many({"a": 2, "b": 2, "c": 2})
    assert told.value.maybe_applied is doubtful
    own.server.start()
    assert dict(store.items()).keys() == {"a"}


@contextmanager
def standing_still(own: Own) -> Iterator[None]:
    """The server stops for a while, as in a machine that swaps, or a container that is paused."""
    assert own.server.process
    own.server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        own.server.process.send_signal(signal.SIGCONT)


def test_a_server_that_stands_still_is_waited_for_no_longer_than_connect_timeout(own: Own) -> None:
    Store(DatabaseDriver(own.alias)).set("key", 1)
    with alias("limited", {**own.database, "OPTIONS": {"connect_timeout": 1}}) as name:
        store = Store(DatabaseDriver(name))
        with standing_still(own):
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="could not be reached") as told:
                store.set("key", 2)
            assert time.monotonic() - started < 10
        assert told.value.maybe_applied is False
        assert store.get("key") == 1


def test_a_server_that_starts_up_is_told_until_it_is_there(own: Own) -> None:
    store = Store(DatabaseDriver(own.alias))
    store.set("key", 1)
    connections[own.alias].close()
    own.server.kill()
    starting = threading.Thread(target=own.server.start)
    starting.start()
    told = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            store.set("key", 2)
            break
        except StoreUnavailableError as error:
            told.append(error)
    starting.join()
    assert told and not any(error.maybe_applied for error in told)
    assert store.get("key") == 2
