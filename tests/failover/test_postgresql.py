"""PostgreSQL whose standby is promoted: what is kept, what is lost, and under which settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import Error, connections
from psycopg import IsolationLevel

from django_persist.exceptions import StoreUnavailableError
from django_persist.models import Entry
from tests.extent import LONG
from tests.failover.conftest import ALIAS, Failover
from tests.writers import writing

pytestmark = pytest.mark.costly

FailOver = Callable[..., Failover]

TIMEOUTS = " ".join(
    f"-c {name}=400ms"
    for name in (
        *("statement_timeout", "lock_timeout", "transaction_timeout"),
        *("idle_in_transaction_session_timeout", "idle_session_timeout"),
    )
)
"""For OPTIONS: each time limit that PostgreSQL has for a session."""


@contextmanager
def elsewhere(*calls: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Run calls in threads during the block, each on a connection of its own."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        yield [pool.submit(run, call) for call in calls]


SETUPS: dict[str, dict[str, Any]] = {
    "default": {},
    "remote_write": {"options": "-c synchronous_commit=remote_write"},
    "remote_apply": {"options": "-c synchronous_commit=remote_apply"},
    "repeatable read": {"isolation_level": IsolationLevel.REPEATABLE_READ},
    "serializable": {"isolation_level": IsolationLevel.SERIALIZABLE},
    "prepared": {"prepare_threshold": 0, "server_side_binding": True},
    "without health checks": {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False},
}


@pytest.mark.parametrize("setup", SETUPS if LONG else ["default"])
def test_no_acknowledged_write_is_lost_to_a_synchronous_standby_under_load(
    setup: str, fail_over: FailOver
) -> None:
    found = fail_over(synchronous=True, **SETUPS[setup])
    with writing(processes=4) as writers:
        writers.read(30)
        found.pair.fail_over()
        writers.read(30)  # by the same processes
        writers.stop()
    errors = [report for report in writers.reports if report.done is not True]
    assert [report for report in errors if report.call != "claim"]
    found.reconnect()
    writers.assert_kept(found.store)
    assert found.connected_to() is found.pair.standby


def test_an_asynchronous_standby_lacks_the_last_acknowledged_writes(fail_over: FailOver) -> None:
    found = fail_over(synchronous=False)
    store = found.store
    store.set_many({"kept": 1, "counter": 5})
    found.pair.standby.wait_until_streaming()
    with found.pair.standby.cut_off():
        store.set("kept", 2)
        store.create("ticket", "mine")
        assert store.incr("counter") == 6
        found.pair.fail_over()
    found.reconnect()
    assert store.get_many(["kept", "ticket"]) == {"kept": 1}
    assert store.incr("counter") == 6  # a second time
    store.create("ticket", "theirs")  # the second winner


def test_a_synchronous_standby_has_every_write_that_was_acknowledged(fail_over: FailOver) -> None:
    found = fail_over(synchronous=True)
    store = found.store
    store.set_many({"kept": 1, "counter": 5})
    with found.pair.standby.cut_off():
        calls: list[Callable[[], Any]] = [
            lambda: store.set("kept", 2),
            lambda: store.create("ticket", "mine"),
            lambda: store.incr("counter"),
        ]
        with elsewhere(*calls) as running:
            found.pair.primary.wait_for_waiting_commits(len(calls))
            found.pair.fail_over()
    for call in running:
        error = call.exception()
        assert isinstance(error, StoreUnavailableError) and error.maybe_applied
    found.reconnect()
    assert dict(store.items()).keys() == {"kept", "counter"}
    assert store.get("kept") == 1
    assert store.incr("counter") == 6


@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
@pytest.mark.parametrize("commit", ["off", "on"])
@pytest.mark.parametrize("then", ["restarted", "promoted"])
def test_synchronous_commit_decides_what_a_crash_loses(
    then: str, commit: str, synchronous: bool, fail_over: FailOver
) -> None:
    found = fail_over(synchronous=synchronous, options=f"-c synchronous_commit={commit}")
    store = found.store
    with found.pair.primary.without_wal_writer():
        store.create("ticket", "mine")
        if commit == "on":
            found.pair.standby.wait_until_streaming()
        if then == "restarted":
            found.pair.primary.kill()
            found.pair.primary.start()
        else:
            found.pair.fail_over()
    found.reconnect()
    assert store.get("ticket") == (None if commit == "off" else "mine")


@pytest.mark.parametrize("then", ["restarted", "promoted"])
def test_an_unlogged_table_is_empty_after_a_crash(then: str, fail_over: FailOver) -> None:
    found = fail_over(synchronous=True)
    table = Entry._meta.db_table
    found.store.set("key", 1)
    found.pair.primary.query(f"ALTER TABLE {table} SET UNLOGGED")
    try:
        if then == "restarted":
            found.pair.primary.query("CHECKPOINT")
            found.pair.primary.kill()
            found.pair.primary.start()
        else:
            found.pair.fail_over()
        found.reconnect()
        assert list(found.store.items()) == []
    finally:
        found.connected_to().query(f"ALTER TABLE {table} SET LOGGED")


@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
def test_an_old_primary_that_comes_back_is_used_unless_it_is_fenced(
    synchronous: bool, fail_over: FailOver
) -> None:
    found = fail_over(synchronous=synchronous)
    store, old, new = found.store, found.pair.primary, found.pair.standby
    store.set("key", "before")
    new.wait_until_streaming()
    found.pair.fail_over()
    found.reconnect()
    store.set("key", "after")
    assert found.connected_to() is new
    old.start()
    found.reconnect()
    assert store.get("key") == "before"
    assert found.connected_to() is old
    if synchronous:
        # No standby follows the old primary, so at least it acknowledges no write.
        with elsewhere(lambda: store.set("late", 1)) as [late]:
            old.wait_for_waiting_commits(1)
            old.kill()
        error = late.exception()
        assert isinstance(error, StoreUnavailableError) and error.maybe_applied
    else:
        store.set("late", 1)
        old.stop()
    # Fenced: it comes back as a standby, which takes no writes.
    (old.data / "standby.signal").touch()
    old.start()
    found.reconnect()
    assert store.get_many(["key", "late"]) == {"key": "after"}
    assert found.connected_to() is new


def test_no_timeout_ends_the_wait_for_a_synchronous_standby(fail_over: FailOver) -> None:
    found = fail_over(synchronous=True, options=TIMEOUTS, tcp_user_timeout=50)
    store, primary = found.store, found.pair.primary
    with connections[ALIAS].cursor() as cursor, pytest.raises(Error, match="timeout"):
        cursor.execute("SELECT pg_sleep(10)")
    found.reconnect()
    calls: list[Callable[[], Any]] = [
        lambda: store.set("key", 1),
        # In several statements, with a COMMIT of its own.
        lambda: store.set_many({f"many:{n}": 1 for n in range(1001)}),
    ]
    with ExitStack() as cut:
        cut.enter_context(found.pair.standby.cut_off())
        with elsewhere(*calls) as running:
            primary.wait_for_waiting_commits(2)
            primary.query("SELECT pg_sleep(1)")
            primary.wait_for_waiting_commits(2)
            cut.close()
            for call in running:
                call.result(20)
    assert store.count() == 1002


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_cancelled_wait_for_a_standby_reports_success_of_a_write_on_the_primary_alone(
    function: str, fail_over: FailOver
) -> None:
    found = fail_over(synchronous=True)
    store, primary = found.store, found.pair.primary
    warnings: list[str] = []

    def write() -> None:
        connections[ALIAS].ensure_connection()
        connections[ALIAS].connection.add_notice_handler(
            lambda notice: warnings.append(f"{notice.severity}: {notice.message_primary}")
        )
        store.set("key", 1)

    with found.pair.standby.cut_off():
        with elsewhere(write) as [call]:
            [pid] = primary.wait_for_waiting_commits(1)
            primary.query(f"SELECT {function}(%s)", pid)
        if function == "pg_cancel_backend":
            call.result()
            [warning] = warnings
            assert warning.startswith("WARNING: canceling wait for synchronous replication")
        else:
            # This tells the caller that the write is uncertain.
            error = call.exception()
            assert isinstance(error, StoreUnavailableError) and error.maybe_applied
        assert store.get("key") == 1
        found.pair.fail_over()
    found.reconnect()
    assert store.get("key") is None


def test_a_primary_that_turns_read_only_is_left_after_one_refusal(fail_over: FailOver) -> None:
    found = fail_over(synchronous=False)
    store, old, new = found.store, found.pair.primary, found.pair.standby
    store.set("key", "before")
    new.wait_until_streaming()
    found.pair.promote()
    old.set_read_only()
    found.on_standby.set("key", "after")
    # An open connection still reads there: only a server that is stopped is left by readers.
    assert store.get("key") == "before"
    with pytest.raises(StoreUnavailableError, match="refused") as caught:
        store.set("key", "refused")
    assert not caught.value.maybe_applied
    assert store.get("key") == "after"
    assert found.connected_to() is new
    store.set("key", "written")
    assert found.on_standby.get("key") == "written"
