"""Servers that end a session, or stop: the call raises, and the process continues."""

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
from tests.aliases import alias, another
from tests.conftest import DATABASE_SERVERS, MYSQLS, OwnServer
from tests.drivers.database.test_cut import after_statements

pytestmark = pytest.mark.usefixtures("way")

SERVERS = pytest.mark.parametrize("database", DATABASE_SERVERS)


def session(database: str) -> int:
    """Return the number of the session of this thread."""
    with connections[database].cursor() as cursor:
        function = "pg_backend_pid" if cursor.db.vendor == "postgresql" else "CONNECTION_ID"
        cursor.execute(f"SELECT {function}()")
        return int(cursor.fetchone()[0])


def end_session(database: str) -> None:
    """Let the server end the session of this thread."""
    number = session(database)
    other = connections[database].copy()
    with other.cursor() as cursor:
        if other.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
        else:
            cursor.execute("KILL %s", [number])
    other.close()


SESSIONS = {
    "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE pid = %s",
    "mariadb": "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %s",
    "mysql": "SELECT COUNT(*) FROM performance_schema.processlist WHERE id = %s",
}


def wait_for_end(database: str, number: int) -> None:
    """Wait until the server has ended a session."""
    other = connections[database].copy()
    deadline = time.monotonic() + 10
    with other.cursor() as cursor:
        while True:
            cursor.execute(SESSIONS[database], [number])
            if cursor.fetchone()[0] == 0:
                break
            assert time.monotonic() < deadline
            time.sleep(0.01)
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
def test_a_call_on_an_ended_session_raises_and_the_next_works(
    call: Callable[[Store], Any],
    writes: bool,
    database: str,
    open_store: Callable[..., Store],
) -> None:
    store = open_store(database)
    store.set_many({"key": 1})  # On MariaDB the first of a process asks for max_allowed_packet.
    end_session(database)
    with pytest.raises(StoreUnavailableError, match="cut off") as caught:
        call(store)
    assert caught.value.maybe_applied is writes
    assert isinstance(caught.value, OperationalError)
    assert isinstance(caught.value.__cause__, Exception)
    assert store.get("key") == 1


@pytest.mark.usefixtures("checked_connections")
@SERVERS
@pytest.mark.parametrize(("call", "writes"), CALLS.values(), ids=CALLS)
def test_a_call_on_a_session_that_was_ended_while_idle_works(
    call: Callable[[Store], Any], writes: bool, database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    store.set("key", 1)
    end_session(database)
    time.sleep(0.11)  # Until then nobody looks, for speed.
    call(store)
    assert store.get("key") == (2 if writes else 1)


@pytest.mark.usefixtures("checked_connections")
@pytest.mark.parametrize("max_age", [0, None], ids=repr)
@SERVERS
def test_an_idle_timeout_of_the_server_costs_no_call_an_error(
    database: str, max_age: int | None, open_store: Callable[..., Store]
) -> None:
    timeout = {
        "postgresql": {"options": "-c idle_session_timeout=300ms"},
        "mariadb": {"init_command": "SET SESSION wait_timeout = 1"},
        "mysql": {"init_command": "SET SESSION wait_timeout = 1"},
    }[database]
    settings = another(database, CONN_MAX_AGE=max_age)
    settings["OPTIONS"] = {**settings["OPTIONS"], **timeout}
    open_store(database)
    with alias("idle", settings) as name:
        store = Store(DatabaseDriver(name))
        for number in range(1, 4):
            assert store.incr("counter") == 2 * number - 1
            time.sleep(1.3 if database in MYSQLS else 0.5)
            assert store.incr("counter") == 2 * number
            time.sleep(1.3 if database in MYSQLS else 0.5)
            assert store.get("counter") == 2 * number


@SERVERS
def test_a_session_that_ends_inside_a_transaction_applies_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    with pytest.raises(StoreUnavailableError) as caught, transaction.atomic(database):
        store.set("key", 1)
        end_session(database)
        store.set("other", 1)
    assert caught.value.maybe_applied is False
    assert store.count() == 0


IDLE = {
    "postgresql": "SET idle_in_transaction_session_timeout = '50ms'",
    "mariadb": "SET SESSION idle_transaction_timeout = 1",
}


@pytest.mark.parametrize("database", IDLE)  # MySQL has no such timeout.
def test_a_transaction_that_idles_for_too_long_applies_nothing(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    number = session(database)
    with connections[database].cursor() as cursor:
        cursor.execute(IDLE[database])
    with (
        pytest.raises(StoreUnavailableError, match="cut off") as caught,
        transaction.atomic(database),
    ):
        store.set("key", 1)
        wait_for_end(database, number)
        store.set("other", 1)
    assert caught.value.maybe_applied is False
    assert store.count() == 0


def test_a_server_that_comes_back_is_used_again(own: OwnServer) -> None:
    store = Store(DatabaseDriver(own.alias))
    store.set("key", 1)
    own.server.kill()
    with pytest.raises(StoreUnavailableError, match="cut off") as caught:
        store.set("key", 2)
    assert caught.value.maybe_applied is True
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="could not be connected to") as caught:
            store.set("key", 3)
        assert caught.value.maybe_applied is False
    own.server.start()
    assert store.get("key") == 1


def test_a_server_that_stops_during_a_transaction_applies_nothing(own: OwnServer) -> None:
    store = Store(DatabaseDriver(own.alias))
    # Django connects again at the end of the block, and raises because it can't.
    with pytest.raises(OperationalError), transaction.atomic(own.alias):
        store.set("key", 1)
        own.server.stop()
        with pytest.raises(StoreUnavailableError) as caught:
            store.set("key", 2)
        assert caught.value.maybe_applied is False
    own.server.start()
    assert store.get("key") is None


@pytest.mark.parametrize(("done", "doubtful"), [(1, False), (2, True)])
def test_a_server_that_stops_during_a_set_many_raises(
    done: int, doubtful: bool, own: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its COMMIT is sent nothing applies, whatever happens when Django connects again."""
    monkeypatch.setattr("django_persist.drivers.database.statements.rows.CHUNK_KEYS", 2)
    store = Store(DatabaseDriver(own.alias))
    store.set("a", 1)
    with (
        pytest.raises(StoreUnavailableError, match="cut off") as caught,
        after_statements(own.alias, done, own.server.stop),
    ):
        store.set_many({"a": 2, "b": 2, "c": 2})
    assert caught.value.maybe_applied is doubtful
    own.server.start()
    assert dict(store.items()).keys() == {"a"}


@contextmanager
def paused(own: OwnServer) -> Iterator[None]:
    """The server stops for a while, like on a machine that swaps or in a paused container."""
    assert own.server.process
    own.server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        own.server.process.send_signal(signal.SIGCONT)


def test_a_call_waits_for_a_paused_server_no_longer_than_connect_timeout(own: OwnServer) -> None:
    Store(DatabaseDriver(own.alias)).set("key", 1)
    with alias("limited", {**own.database, "OPTIONS": {"connect_timeout": 1}}) as name:
        store = Store(DatabaseDriver(name))
        with paused(own):
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="could not be connected to") as caught:
                store.set("key", 2)
            assert time.monotonic() - started < 10
        assert caught.value.maybe_applied is False
        assert store.get("key") == 1


def test_calls_raise_until_a_starting_server_is_ready(own: OwnServer) -> None:
    store = Store(DatabaseDriver(own.alias))
    store.set("key", 1)
    connections[own.alias].close()
    own.server.kill()
    starting = threading.Thread(target=own.server.start)
    starting.start()
    errors = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            store.set("key", 2)
            break
        except StoreUnavailableError as error:
            errors.append(error)
    starting.join()
    assert errors and not any(error.maybe_applied for error in errors)
    assert store.get("key") == 2
