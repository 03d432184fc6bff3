"""Databases that can't be reached, or that say nothing: told, and the next call goes on."""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest
from django.db import OperationalError, close_old_connections, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias, another
from tests.drivers.database.conftest import Line
from tests.drivers.database.test_cut import READS, WRITES, fill
from tests.servers.proxy import Fault


def assert_unreachable(store: Store) -> None:
    with pytest.raises(StoreUnavailableError, match="could not be reached") as told:
        store.incr("counter")
    assert isinstance(told.value, OperationalError)
    assert isinstance(told.value.__cause__, OperationalError)
    assert told.value.maybe_applied is False


def test_every_call_tells_that_nothing_was_done_where_no_line_is_to_be_had(line: Line) -> None:
    before = fill(line)
    connections[line.alias].close()
    with line.proxy.failing(Fault.REFUSED):
        for call, _, _ in {**READS, **WRITES}.values():
            with pytest.raises(StoreUnavailableError, match="could not be reached") as told:
                call(line.store)
            assert told.value.maybe_applied is False
    assert line.rows() == before
    assert line.store.incr("counter") == 1


def test_the_first_call_of_a_driver_may_find_its_line_cut(line: Line) -> None:
    """On MariaDB it asks the server for its limits first: that is a call like another."""
    line.proxy.cut()
    store = Store(DatabaseDriver(line.alias))
    with pytest.raises(StoreUnavailableError):
        store.get("key")
    assert store.incr("counter") == 1


def test_a_health_check_that_finds_no_server_is_told(line: Line) -> None:
    settings = another(line.alias, CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)
    with alias("checked", settings) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        line.proxy.cut()
        with line.proxy.failing(Fault.REFUSED):
            close_old_connections()  # as at the start of a request
            for _ in range(2):
                assert_unreachable(store)
        # A check that finds it cut takes another line, and the call knows nothing of it.
        close_old_connections()
        assert store.incr("counter") == 1
        line.proxy.cut()
        close_old_connections()
        assert store.incr("counter") == 2


def test_a_persistent_connection_that_was_cut_is_told_once(line: Line) -> None:
    with alias("persistent", another(line.alias, CONN_MAX_AGE=None)) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        line.proxy.cut()
        with pytest.raises(StoreUnavailableError) as told:
            store.incr("counter")
        assert told.value.maybe_applied is True
        assert store.get("counter") == 0
        assert store.incr("counter") == 1


def test_a_connection_without_autocommit_is_told(line: Line) -> None:
    with alias("manual", another(line.alias, AUTOCOMMIT=False)) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        transaction.commit(name)
        store.set("mine", 1)
        line.proxy.cut()
        with pytest.raises(StoreUnavailableError) as told:
            store.incr("counter")
        assert told.value.maybe_applied is False
        connections[name].close()
        assert store.incr("counter") == 1
        assert "mine" not in store
        transaction.commit(name)
    assert [(key, value) for key, value, _ in line.rows()] == [("counter", 1)]


def answers(store: Store) -> bool:
    try:
        store.count()
    except StoreUnavailableError:
        return False
    return True


@pytest.mark.parametrize("line", ["postgresql"], indirect=True)
def test_a_pool_of_connections_goes_on(line: Line) -> None:
    pool = {"min_size": 1, "max_size": 2, "timeout": 0.5}
    options = {**another(line.alias)["OPTIONS"], "pool": pool}
    settings = another(line.alias, OPTIONS=options, CONN_HEALTH_CHECKS=True)
    with alias("pool", settings) as name:
        store = Store(DatabaseDriver(name))
        deadline = time.monotonic() + 30
        try:
            while not answers(store):
                assert time.monotonic() < deadline
            assert store.incr("counter") == 1
            line.proxy.cut()
            with pytest.raises(StoreUnavailableError) as told:
                store.incr("counter")
            assert told.value.maybe_applied is True
            while not answers(store):
                assert time.monotonic() < deadline
            assert store.incr("counter") == 2
            connections[name].close()
            line.proxy.cut()
            with line.proxy.failing(Fault.REFUSED):
                for _ in range(2):
                    with pytest.raises(StoreUnavailableError):
                        store.incr("counter")
            while not answers(store):  # The pool itself waits before it connects anew.
                assert time.monotonic() < deadline
            assert store.incr("counter") == 3
        finally:
            connections[name].close()
            connections[name].close_pool()  # type: ignore[attr-defined]


def test_a_line_that_stalls_while_it_is_opened_is_given_up(line: Line) -> None:
    connections[line.alias].close()
    started = time.monotonic()
    with line.proxy.failing(Fault.STALLED):
        assert_unreachable(line.store)
    assert time.monotonic() - started < 10
    assert line.store.incr("counter") == 1


@pytest.mark.parametrize("line", ["mariadb"], indirect=True)
@pytest.mark.parametrize("inside", [False, True])
def test_an_answer_that_stays_away_is_waited_for_no_longer_than_read_timeout(
    inside: bool, line: Line
) -> None:
    """PostgreSQL's client has no such setting: there the line itself must break."""
    line.store.set("counter", 0)
    transaction_or_none = transaction.atomic(line.alias) if inside else nullcontext()
    with pytest.raises(StoreUnavailableError) as told, transaction_or_none:
        line.store.set("mine", 1)
        with line.proxy.failing(Fault.STALLED):
            line.store.incr("counter")
    assert told.value.maybe_applied is not inside
    assert line.store.get_many(["counter", "mine"]) == (
        {"counter": 0} if inside else {"counter": 1, "mine": 1}
    )
    assert line.store.incr("counter") == (1 if inside else 2)
