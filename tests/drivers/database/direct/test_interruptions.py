"""Calls interrupted at each moment of the direct way: the next call reads its own answer."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from django_persist import Store
from tests.conftest import OpenStore
from tests.drivers.database.direct.conftest import Count, counting
from tests.interruptions.alarms import INTERRUPTED, alarms
from tests.interruptions.moments import Interruption, LimitError, each_moment, interrupted_at

FILES = ("direct/base.py", "direct/sqlite.py", "direct/postgresql.py", "direct/mysql.py")

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CALLS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get("other"),
    "set": lambda store: store.set("other", "another"),
    "incr": lambda store: store.incr("counter"),
}
ERRORS = (KeyboardInterrupt, LimitError, Interruption)


def using_of(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_outside_a_transaction(
    call: Callable[[Store], Any], error: type[BaseException], direct_store: Store, count: Count
) -> None:
    store = direct_store
    store.set("there", "value")

    def make_call() -> Callable[[], object]:
        store.get("there")  # opens the connection
        return lambda: call(store)

    moments = 0
    for moment in each_moment(make_call, FILES, error):
        moments = moment
        assert store.get("there") == "value"
        assert store.get("nothing") is None
    assert moments > 5 or connections[using_of(store)].vendor == "sqlite"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_inside_a_transaction(
    call: Callable[[Store], Any], error: type[BaseException], direct_store: Store, count: Count
) -> None:
    store, using = direct_store, using_of(direct_store)
    store.set("there", "value")
    before = store.incr("counter", 0)

    def inside() -> None:
        with transaction.atomic(using):
            store.set("there", "rolled back")
            call(store)

    for _ in each_moment(lambda: inside, FILES, error):
        assert store.get("there") == "value"
        assert store.get("nothing") is None
        assert store.incr("counter", 0) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_transaction_that_goes_on_after_it_is_not_committed_by_halves(
    call: Callable[[Store], Any], direct_store: Store, count: Count
) -> None:
    store, using = direct_store, using_of(direct_store)
    store.set_many({"first": 0, "second": 0})

    def write_both(moment: int) -> bool:
        """Return whether the call between the writes was interrupted."""
        with transaction.atomic(using):
            store.set("first", moment)
            try:
                return interrupted_at(moment, lambda: call(store), FILES, LimitError)
            finally:
                store.set("second", moment)

    moment, is_interrupted = 0, True
    while is_interrupted:
        moment += 1
        with suppress(DatabaseError):  # The rest of the transaction met a closed connection.
            is_interrupted = write_both(moment)
        assert store.get("first") == store.get("second")
    assert count.direct
    assert store.get("first") == moment


def hold(using: str, store: Store) -> Any:
    """Return a connection whose transaction has locked the entry "counter"."""
    store.set("counter", 0)
    other = connections[using].copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM django_persist_entry WHERE \"key\" = 'counter' FOR UPDATE"
            if other.vendor == "postgresql"
            else "SELECT 1 FROM django_persist_entry WHERE `key` = 'counter' FOR UPDATE"
        )
    return other


@pytest.mark.parametrize("is_direct", [True, False])
def test_ctrl_c_ends_the_wait_for_a_lock_and_cancels_the_write(
    is_direct: bool, open_store: OpenStore
) -> None:
    store = open_store("postgresql", OPTIONS={"using": "postgresql", "direct": is_direct})
    store.get("counter")
    other = hold("postgresql", store)
    started = time.monotonic()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with counting() as count, pytest.raises(KeyboardInterrupt):
        store.incr("counter")
    assert time.monotonic() - started < 2
    assert count.direct == is_direct
    assert connections["postgresql"].connection is None
    other.rollback()
    other.close()
    time.sleep(0.1)
    assert store.get("counter") == 0


@pytest.mark.parametrize("is_direct", [True, False])
def test_an_alarm_ends_the_wait_for_a_lock(is_direct: bool, open_store: OpenStore) -> None:
    store = open_store("postgresql", OPTIONS={"using": "postgresql", "direct": is_direct})
    store.get("counter")
    other = hold("postgresql", store)
    started = time.monotonic()
    with counting() as count, alarms() as interrupted:
        assert interrupted(lambda: store.incr("counter"), 0.3) is INTERRUPTED
    assert time.monotonic() - started < 2
    assert count.direct == is_direct
    assert connections["postgresql"].connection is None
    other.rollback()
    other.close()
    assert store.get("counter") in (0, 1)
