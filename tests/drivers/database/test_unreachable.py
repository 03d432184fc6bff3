"""Databases that can't be reached or don't answer: the call raises, and the next one works."""

from __future__ import annotations

import select
import time
from contextlib import nullcontext

import pytest
from django.db import OperationalError, close_old_connections, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from django_persist.models import Entry
from tests.aliases import alias, another
from tests.conftest import MYSQLS
from tests.drivers.database.conftest import ProxiedStore
from tests.drivers.database.test_cut import READS, WRITES, fill
from tests.servers.proxy import Fault


def assert_unreachable(store: Store) -> None:
    with pytest.raises(StoreUnavailableError, match="could not be connected to") as caught:
        store.incr("counter")
    assert isinstance(caught.value, OperationalError)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert caught.value.maybe_applied is False


def test_a_call_that_gets_no_connection_reports_that_nothing_was_done(
    proxied: ProxiedStore,
) -> None:
    before = fill(proxied)
    connections[proxied.alias].close()
    with proxied.proxy.failing(Fault.REFUSED):
        for call, _, _ in {**READS, **WRITES}.values():
            with pytest.raises(StoreUnavailableError, match="could not be connected to") as caught:
                call(proxied.store)
            assert caught.value.maybe_applied is False
    assert proxied.rows() == before
    assert proxied.store.incr("counter") == 1


def test_the_first_call_of_a_driver_leaves_a_connection_that_was_cut(proxied: ProxiedStore) -> None:
    """The ORM has opened it, and nobody knows how long it was idle."""
    proxied.proxy.cut()
    wait_until_ended(proxied.alias)
    store = Store(DatabaseDriver(proxied.alias))
    assert store.incr("counter") == 1
    assert store.get("counter") == 1


def test_a_connection_that_the_orm_found_cut_costs_no_call_an_error(proxied: ProxiedStore) -> None:
    proxied.proxy.cut()
    with pytest.raises(OperationalError):
        Entry.objects.using(proxied.alias).count()
    store = Store(DatabaseDriver(proxied.alias))
    assert store.incr("counter") == 1
    assert store.get("counter") == 1


def wait_until_ended(alias: str) -> None:
    """Wait until the end of a connection has arrived here."""
    poll = select.poll()
    poll.register(connections[alias].connection.fileno(), select.POLLRDHUP)
    assert poll.poll(10_000)


def test_a_health_check_that_finds_no_server_raises(proxied: ProxiedStore) -> None:
    settings = another(proxied.alias, CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)
    with alias("checked", settings) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        proxied.proxy.cut()
        with proxied.proxy.failing(Fault.REFUSED):
            close_old_connections()  # what Django does at the start of a request
            for _ in range(2):
                assert_unreachable(store)
        # A check that finds the connection cut opens another one, and the call works.
        close_old_connections()
        assert store.incr("counter") == 1
        proxied.proxy.cut()
        close_old_connections()
        assert store.incr("counter") == 2


def test_a_persistent_connection_that_was_cut_raises_once(proxied: ProxiedStore) -> None:
    with alias("persistent", another(proxied.alias, CONN_MAX_AGE=None)) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        proxied.proxy.cut()
        with pytest.raises(StoreUnavailableError) as caught:
            store.incr("counter")
        assert caught.value.maybe_applied is True
        assert store.get("counter") == 0
        assert store.incr("counter") == 1


def test_a_connection_without_autocommit_that_was_cut_raises(proxied: ProxiedStore) -> None:
    with alias("manual", another(proxied.alias, AUTOCOMMIT=False)) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 0)
        transaction.commit(name)
        store.set("mine", 1)
        proxied.proxy.cut()
        with pytest.raises(StoreUnavailableError) as caught:
            store.incr("counter")
        assert caught.value.maybe_applied is False
        connections[name].close()
        assert store.incr("counter") == 1
        assert "mine" not in store
        transaction.commit(name)
    assert [(key, value) for key, value, _ in proxied.rows()] == [("counter", 1)]


def answers(store: Store) -> bool:
    try:
        store.count()
    except StoreUnavailableError:
        return False
    return True


@pytest.mark.parametrize("proxied", ["postgresql"], indirect=True)
def test_a_connection_pool_recovers(proxied: ProxiedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The pool waits for a second before it connects again, and then twice as long each time.
    monkeypatch.setattr("psycopg_pool.base.AttemptWithBackoff.INITIAL_DELAY", 0.05)
    pool = {"min_size": 1, "max_size": 2, "timeout": 0.1}
    options = {**another(proxied.alias)["OPTIONS"], "pool": pool}
    settings = another(proxied.alias, OPTIONS=options, CONN_HEALTH_CHECKS=True)
    with alias("pool", settings) as name:
        store = Store(DatabaseDriver(name))
        deadline = time.monotonic() + 30
        try:
            while not answers(store):
                assert time.monotonic() < deadline
            assert store.incr("counter") == 1
            proxied.proxy.cut()
            with pytest.raises(StoreUnavailableError) as caught:
                store.incr("counter")
            assert caught.value.maybe_applied is True
            while not answers(store):
                assert time.monotonic() < deadline
            assert store.incr("counter") == 2
            connections[name].close()
            proxied.proxy.cut()
            with proxied.proxy.failing(Fault.REFUSED):
                for _ in range(2):
                    with pytest.raises(StoreUnavailableError):
                        store.incr("counter")
            while not answers(store):
                assert time.monotonic() < deadline
            assert store.incr("counter") == 3
        finally:
            connections[name].close()
            connections[name].close_pool()  # type: ignore[attr-defined]


def test_a_connection_that_stalls_while_opening_is_given_up(proxied: ProxiedStore) -> None:
    connections[proxied.alias].close()
    started = time.monotonic()
    with proxied.proxy.failing(Fault.STALLED):
        assert_unreachable(proxied.store)
    assert time.monotonic() - started < 10
    assert proxied.store.incr("counter") == 1


@pytest.mark.parametrize("proxied", MYSQLS, indirect=True)
@pytest.mark.parametrize("inside", [False, True])
def test_a_call_waits_for_an_answer_no_longer_than_read_timeout(
    inside: bool, proxied: ProxiedStore
) -> None:
    """PostgreSQL's client has no such setting."""
    proxied.store.set("counter", 0)
    transaction_or_none = transaction.atomic(proxied.alias) if inside else nullcontext()
    with pytest.raises(StoreUnavailableError) as caught, transaction_or_none:
        proxied.store.set("mine", 1)
        with proxied.proxy.failing(Fault.STALLED):
            proxied.store.incr("counter")
    assert caught.value.maybe_applied is not inside
    assert proxied.store.get_many(["counter", "mine"]) == (
        {"counter": 0} if inside else {"counter": 1, "mine": 1}
    )
    assert proxied.store.incr("counter") == (1 if inside else 2)
