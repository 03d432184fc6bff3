"""What goes over the line below the cursor, and what else arrives there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DataError, connections, transaction

from django_persist import Store, persist
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry
from tests.conftest import WAYS, OpenStore
from tests.drivers.database.direct.conftest import Count, counting
from tests.drivers.database.test_refused import run
from tests.interruptions.alarms import INTERRUPTED, alarms
from tests.processes import race

TABLE = Entry._meta.db_table
LARGE = "x" * 10_000_000
SMALL_BUFFER = 65_536
"""Much smaller ones let TCP wait for a late acknowledgement again and again."""


def raw(store: Store) -> Any:
    return connections[store.driver.using].connection  # type: ignore[attr-defined]


@pytest.fixture
def postgresql(open_store: OpenStore, count: Count) -> Iterator[Store]:
    """A store on PostgreSQL, whose calls go below the cursor."""
    store = open_store("postgresql")
    connections["postgresql"].close()
    store.set("key", "value")
    assert count.of(lambda: store.get("key")) == 1
    yield store
    connections["postgresql"].close()


def shrink_buffers(store: Store) -> None:
    line = socket.socket(fileno=raw(store).fileno())
    try:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            line.setsockopt(socket.SOL_SOCKET, option, SMALL_BUFFER)
    finally:
        line.detach()


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_a_large_value_goes_through_small_buffers(
    inside: bool, database: str, open_store: OpenStore, count: Count
) -> None:
    if database == "sqlite":
        store = open_store(database)
    else:
        store = open_store(database)
        connections[database].close()
        store.set("key", 1)
        shrink_buffers(store)
    store.set("key", 1)
    before = count.direct
    if inside:
        with transaction.atomic(store.driver.using):  # type: ignore[attr-defined]
            store.get("key")
            store.set("large", LARGE)
            assert store.get("large") == LARGE
    else:
        store.set("large", LARGE)
    assert store.get("large") == LARGE
    assert count.direct - before >= 2
    assert store.get("key") == 1


@contextmanager
def notices(number: int) -> Iterator[None]:
    """Let the server say something `number` times for each row that is written."""
    run(
        "postgresql",
        f"""
        CREATE FUNCTION say_much() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            FOR number IN 1..{number} LOOP RAISE NOTICE '%', repeat('n', 1000); END LOOP;
            RETURN NEW;
        END $$
        """,
        f"CREATE TRIGGER saying BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION say_much()",
    )
    try:
        yield
    finally:
        run("postgresql", f"DROP TRIGGER saying ON {TABLE}", "DROP FUNCTION say_much()")


def test_a_server_that_says_much(postgresql: Store, count: Count) -> None:
    """Its notices reach psycopg's handlers; a value that is under way meanwhile arrives."""
    heard: list[str] = []
    with notices(2000):
        run("postgresql", "SET client_min_messages = notice")
        shrink_buffers(postgresql)
        raw(postgresql).add_notice_handler(lambda each: heard.append(each.message_primary))
        assert count.of(lambda: postgresql.set("key", LARGE)) == 1
        assert heard == ["n" * 1000] * 2000
        assert postgresql.get("key") == LARGE
        assert postgresql.incr("counter") == 1
        assert len(heard) == 4000


def notify(payload: str) -> None:
    """Notify from another session, and wait until that has been sent."""
    other = connections["postgresql"].copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_notify('tests', %s)", [payload])
    other.close()


def test_notifications_reach_the_handlers(postgresql: Store, count: Count) -> None:
    heard: list[str] = []
    raw(postgresql).add_notify_handler(lambda each: heard.append(each.payload))
    run("postgresql", "LISTEN tests")
    for number in range(5):
        notify(str(number))
    deadline = time.monotonic() + 10
    while len(heard) < 5 and time.monotonic() < deadline:
        assert count.of(lambda: postgresql.get("key")) == 1
    assert heard == ["0", "1", "2", "3", "4"]


def test_a_thread_that_waits_for_notifications_reads_no_answer(
    postgresql: Store, count: Count
) -> None:
    """psycopg lets a thread wait for them on a connection that others use."""
    heard: list[str] = []
    run("postgresql", "LISTEN tests")
    listened = raw(postgresql)

    def listen() -> None:
        heard.extend(each.payload for each in listened.notifies(timeout=1))

    def ring() -> None:
        """Notify it, because it lets in who waits for the connection when it goes round."""
        try:
            while thread.is_alive():
                notify("ring")
                time.sleep(0.01)
        finally:
            connections.close_all()

    def call() -> None:
        for number in range(20):
            postgresql.set("key", number)
            assert postgresql.get("key") == number

    thread, bell = threading.Thread(target=listen), threading.Thread(target=ring)
    thread.start()
    time.sleep(0.1)
    bell.start()
    with alarms() as interrupted:
        assert interrupted(call, 20) is not INTERRUPTED
    thread.join(20)
    bell.join(20)
    assert "ring" in heard
    assert count.direct >= 40


def test_a_nul_never_cuts_a_text_short(postgresql: Store, count: Count) -> None:
    """The store refuses such keys. Handed to the driver, they are no other keys."""
    messages = []
    for direct in WAYS.values():
        driver = DatabaseDriver("postgresql", direct=direct)
        driver.get("key")
        before = count.direct
        with pytest.raises(DataError) as caught:
            driver.get("key\0 and more")
        messages.append(str(caught.value))
        with pytest.raises(DataError):
            driver.set("other", b'"va\0lue"', None)
        assert count.direct - before == 2 * direct
    assert messages == ["PostgreSQL text fields cannot contain NUL (0x00) bytes"] * 2
    assert "other" not in postgresql


def test_a_cursor_factory_that_is_set_later_is_used(postgresql: Store, count: Count) -> None:
    """A tool that watches statements puts its own in the place of Django's."""
    seen: list[str] = []

    class Watched(raw(postgresql).cursor_factory):  # type: ignore[misc]
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(query)
            return super().execute(query, *args, **kwargs)

    raw(postgresql).cursor_factory = Watched
    assert count.of(lambda: postgresql.get("key")) == 0
    assert len(seen) == 1


def test_psycopg_s_own_transactions_are_begun(postgresql: Store, count: Count) -> None:
    """If the project turned off psycopg's autocommit itself, a write is not committed."""
    raw(postgresql).autocommit = False
    assert count.of(lambda: postgresql.set("key", "uncommitted")) == 0
    raw(postgresql).rollback()
    raw(postgresql).autocommit = True
    assert count.of(lambda: postgresql.get("key")) == 1
    assert postgresql.get("key") == "value"


def go(i: int) -> int:
    """Return how many of two calls of one key went below the cursor, in another process."""
    persist.get("key")
    with counting() as count:
        persist.get("key")
        persist.incr("counter")
    return count.direct


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_a_test_goes_the_way_that_it_names(
    way: str, database: str, open_store: OpenStore, count: Count
) -> None:
    """And so do the processes that it starts: else one of both ways would not be tested."""
    store = open_store(database)
    store.set("key", 1)
    assert count.of(lambda: (store.get("key"), store.incr("counter"))) == 2 * WAYS[way]
    assert set(race(go, processes=2)) == {2 * WAYS[way]}
