"""Calls below the cursor, interrupted: the next call reads its own answer, or the call has none."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any, TypeAlias

import psycopg
import pytest
from django.db import Error, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.conftest import WAYS, OwnServer
from tests.drivers.database.direct.conftest import Count
from tests.drivers.database.test_refused import row_held
from tests.extent import LONG
from tests.interruptions.alarms import INTERRUPTED, alarms, at_random
from tests.interruptions.moments import (
    Interruption,
    LimitError,
    each_moment,
    interrupted_at,
    switched_at,
)
from tests.interruptions.test_thrown import throw_into

pytestmark = pytest.mark.costly

RecordProperty: TypeAlias = Callable[[str, object], None]

FILES = tuple(f"direct/{name}.py" for name in ("base", "sqlite", "postgresql", "mysql"))
ALARMS = 4_000 if LONG else 60

CALLS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get("other"),
    "set": lambda store: store.set("other", "another"),
    "incr": lambda store: store.incr("counter"),
}
EACH_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
EACH_ERROR = pytest.mark.parametrize("error", [KeyboardInterrupt, LimitError, Interruption])


def using(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


def is_cut(raw: Any) -> bool:
    """Return whether a connection to a server has been ended on this side."""
    if isinstance(raw, sqlite3.Connection):
        return False
    try:
        line = raw.fileno()
    except psycopg.OperationalError:
        return True
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def assert_right(store: Store) -> None:
    """Each of these has another answer than the one before."""
    assert store.get("key") == "value"
    assert "missing" not in store
    assert store.touch("key", None)
    assert store.get("key") == "value"


@EACH_ERROR
@EACH_CALL
def test_at_each_moment_outside_a_transaction(
    call: Callable[[Store], Any], error: type[BaseException], direct_store: Store, count: Count
) -> None:
    store = direct_store
    moments = 0

    def make_call() -> Callable[[], object]:
        store.get("key")  # Opens the connection.
        return lambda: call(store)

    for moment in each_moment(make_call, FILES, error):
        moments = moment
        assert_right(store)
    assert moments >= 5 - 3 * (connections[using(store)].vendor == "sqlite")
    assert count.direct > moments


@EACH_ERROR
@EACH_CALL
def test_at_each_moment_inside_a_transaction(
    call: Callable[[Store], Any], error: type[BaseException], direct_store: Store, count: Count
) -> None:
    store = direct_store
    before = store.incr("counter", 0)

    def inside() -> None:
        with transaction.atomic(using(store)):
            store.set("key", "rolled back")
            call(store)

    def make_call() -> Callable[[], object]:
        store.set("key", "value")
        store.remove("other")
        return inside

    moments = 0
    for moment in each_moment(make_call, FILES, error):
        moments = moment
        assert_right(store)
        assert "other" not in store
        assert store.incr("counter", 0) == before
    assert moments >= 2
    assert count.direct > moments


@pytest.mark.parametrize("database", ["sqlite"])
def test_whoever_handles_it_waits_for_no_lock_of_the_call(direct_store: Store) -> None:
    store, moments = direct_store, 0
    files = (*FILES, "database/connection.py", "statements/base.py", "statements/sqlite.py")

    def incr() -> None:
        try:
            store.incr("counter")
        except Interruption:
            # The traceback still refers to what the call had.
            name = connections[using(store)].settings_dict["NAME"]
            with closing(sqlite3.connect(name, timeout=0)) as another:
                another.execute("BEGIN IMMEDIATE")
            raise

    def make_call() -> Callable[[], object]:
        store.incr("counter")  # Opens the connection.
        return incr

    for moment in each_moment(make_call, files):
        moments = moment
    assert moments > 10


@EACH_ERROR
@EACH_CALL
def test_a_transaction_that_swallows_it_is_never_committed_by_halves(
    call: Callable[[Store], Any], error: type[BaseException], direct_store: Store, count: Count
) -> None:
    store = direct_store
    store.set_many({"first": 0, "second": 0})
    moment, is_interrupted = 0, True
    while is_interrupted:
        moment += 1
        try:
            with transaction.atomic(using(store)):
                store.set("first", moment)
                is_interrupted = True
                with suppress(error):
                    is_interrupted = interrupted_at(moment, lambda: call(store), FILES, error)
                was_cut = is_cut(connections[using(store)].connection)
                store.set("second", moment)
        except Error:
            assert was_cut  # not left with half an answer
        assert store.get("first") == store.get("second")
        assert_right(store)
    assert store.get("first") == moment
    assert count.direct > moment


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_by_alarms(
    inside: bool, direct_store: Store, database: str, record_property: RecordProperty
) -> None:
    store, interruptions, sums = direct_store, 0, 0
    calls = list(CALLS.values())
    store.set_many({"first": 0, "second": 0})

    def make(number: int, seconds: float) -> None:
        call = calls[number % 3]
        if not inside:
            interrupt(call, seconds)
            return
        # An alarm within atomic() itself, or within a COMMIT, would leave Django in a wrong state.
        with transaction.atomic(using(store)):
            store.set("first", number)
            interrupt(call, seconds)
            store.set("second", number)

    with alarms() as interrupted:

        def interrupt(call: Callable[[Store], Any], seconds: float) -> None:
            if interrupted(lambda: call(store), seconds) is INTERRUPTED:
                raise LimitError

        started = time.perf_counter()
        for call in calls * 3:
            call(store)
        typical = (time.perf_counter() - started) / 9
        sums = store.incr("counter", 0)
        for number in range(ALARMS):
            try:
                make(number, at_random(typical))
            except LimitError:
                interruptions += 1
            assert_right(store)
            assert store.get("first") == store.get("second")
            total = store.incr("counter")
            assert total > sums
            sums = total
    assert interruptions >= ALARMS // 20
    record_property("interrupted", ("an alarm", database, interruptions))


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@EACH_CALL
def test_an_exception_thrown_into_the_thread(
    call: Callable[[Store], Any], inside: bool, direct_store: Store, count: Count
) -> None:
    """At each moment, too: test_thrown.py throws them at random."""
    store = direct_store

    def make_call() -> None:
        with transaction.atomic(using(store)) if inside else nullcontext():
            store.set("first", moment)
            is_thrown[0] = switched_at(
                moment, lambda: call(store), FILES, lambda: throw_into(threading.current_thread())
            )[1]
            store.set("second", moment)

    moment, is_thrown = 0, [True]
    thrown = 0
    while is_thrown[0]:
        moment += 1
        store.set_many({"first": 0, "second": 0})
        try:
            make_call()
        except LimitError:
            thrown += 1
            if inside:
                assert store.get("first") == store.get("second") == 0
        assert_right(store)
    assert thrown == moment - 1 >= 2
    assert count.direct > moment


# A server that keeps the call waiting.

EACH_WAY = pytest.mark.parametrize("direct", WAYS.values(), ids=WAYS)


@contextmanager
def signalled(signum: signal.Signals, error: type[BaseException]) -> Iterator[list[float]]:
    """Raise `error` by a signal in 0.2 seconds; hand out how long the block went on after it."""
    sent = 0.0
    lasted: list[float] = []

    def send() -> None:
        nonlocal sent
        sent = time.monotonic()
        signal.raise_signal(signum)

    def raise_error(number: int, frame: Any) -> None:
        raise error

    before = signal.signal(signum, raise_error)
    timer = threading.Timer(0.2, send)
    timer.start()
    try:
        with pytest.raises(error):
            yield lasted
        lasted.append(time.monotonic() - sent)
    finally:
        timer.join()
        signal.signal(signum, before)


SIGNALS = pytest.mark.parametrize(
    ("signum", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGALRM, LimitError)],
    ids=["Ctrl-C", "alarm"],
)


@SIGNALS
@EACH_WAY
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("database", ["postgresql"])  # mysqlclient waits within its C code.
def test_the_wait_for_a_lock_ends(
    signum: signal.Signals,
    error: type[BaseException],
    direct: bool,
    inside: bool,
    direct_store: Store,
    count: Count,
    database: str,
) -> None:
    store = Store(DatabaseDriver(database, direct=direct))
    store.set("key", "value")

    def write() -> None:
        if not inside:
            store.set("key", "mine")
            return
        with transaction.atomic(database):
            store.set("other", "mine")
            store.set("key", "mine")

    with row_held(direct_store):
        raw, before = connections[database].connection, count.direct
        with signalled(signum, error) as lasted:
            write()
        assert count.direct - before == direct
        assert lasted[0] < 1
        # After Ctrl-C psycopg's cursor reads the answer.
        assert raw.closed or (inside and not direct and signum == signal.SIGINT)
    if signum == signal.SIGINT or inside:
        # The server has cancelled it, or ended the transaction with the connection.
        time.sleep(0.2)
        assert store.get("key") == "value"
        assert "other" not in store
    assert store.incr("counter") > 0


@SIGNALS
@EACH_WAY
@pytest.mark.parametrize("own", ["own postgresql"], indirect=True)
def test_a_server_that_hangs(
    signum: signal.Signals,
    error: type[BaseException],
    direct: bool,
    own: OwnServer,
    count: Count,
) -> None:
    store = Store(DatabaseDriver(own.alias, direct=direct))
    store.set("key", 1)
    store.get("key")
    backend = connections[own.alias].connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        before = count.direct
        with signalled(signum, error) as lasted:
            store.get("key")
        assert count.direct - before == direct
        assert connections[own.alias].connection is None
        assert store.get("key") == 1
    finally:
        os.kill(backend, signal.SIGCONT)
    assert lasted[0] < 1 or (not direct and signum == signal.SIGINT)
