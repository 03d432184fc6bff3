"""MariaDB whose replica is promoted: what is kept, what is lost, and under which settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias, migrate
from tests.conftest import DATABASE
from tests.failover.conftest import ALIAS
from tests.failover.test_postgresql import elsewhere
from tests.servers import database
from tests.servers.replicated_mariadb import MariaDBPair
from tests.writers import writing

pytestmark = pytest.mark.costly

HOUR = 3_600_000
"""In milliseconds: a primary that waits as long for its replica never gives up in a test."""


@dataclass(frozen=True)
class Failover:
    """A MariaDB with a replica, and stores on them."""

    pair: MariaDBPair
    store: Store
    """The default store. New connections lead to the primary, or to the replica once promoted."""
    on_primary: Store
    """A store on the server that is the primary before the failover."""


FailOver = Callable[[int | None], Failover]


@pytest.fixture(scope="module")
def start_pair() -> Iterator[Callable[[], MariaDBPair]]:
    """Return a function that starts the pair on its first call."""
    with ExitStack() as stack:

        @cache
        def start() -> MariaDBPair:
            pair = MariaDBPair()
            stack.callback(pair.stop)
            return pair

        yield start


@pytest.fixture(params=["own mariadb"])
def fail_over(
    start_pair: Callable[[], MariaDBPair],
    settings: Any,
    django_db_setup: None,
    django_db_blocker: Any,
) -> Iterator[FailOver]:
    """Return a function that prepares the pair: see MariaDBPair.prepare."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def prepare(semi_sync_timeout: int | None) -> Failover:
            pair = start_pair()
            pair.prepare(semi_sync_timeout)
            primary = database(pair.primary.url)
            stack.enter_context(alias("primary", primary))
            site = {**primary, "PORT": pair.site.port, "OPTIONS": {"read_timeout": 5}}
            stack.enter_context(alias(ALIAS, site))
            migrate("primary")
            pair.catch_up()
            settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": ALIAS}}}
            return Failover(pair, stores["default"], Store(DatabaseDriver("primary")))

        yield prepare


def test_an_asynchronous_replica_of_mariadb_lacks_the_last_acknowledged_writes(
    fail_over: FailOver,
) -> None:
    found = fail_over(None)
    store = found.store
    store.set_many({"kept": 1, "counter": 5})
    found.pair.catch_up()
    with found.pair.cut_off():
        store.set("kept", 2)
        store.create("ticket", "mine")
        assert store.incr("counter") == 6
        found.pair.fail_over()
    connections[ALIAS].close()
    assert store.get_many(["kept", "ticket"]) == {"kept": 1}
    assert store.incr("counter") == 6  # a second time
    store.create("ticket", "theirs")  # the second winner


def test_no_acknowledged_write_is_lost_to_a_semi_synchronous_replica_under_load(
    fail_over: FailOver,
) -> None:
    found = fail_over(HOUR)
    with writing(processes=4) as writers:
        writers.read(30)
        with found.pair.cut_off():
            found.pair.wait_for_waiting_commits()
            found.pair.fail_over()
        writers.read(30)  # by the same processes
        writers.stop()
    assert any(report.done is not True for report in writers.reports if report.call != "claim")
    connections[ALIAS].close()
    writers.assert_kept(found.store)


def test_a_primary_that_gives_up_its_wait_acknowledges_what_a_promotion_loses(
    fail_over: FailOver,
) -> None:
    found = fail_over(50)
    with found.pair.cut_off():
        found.store.create("ticket", "mine")
        assert found.pair.primary.status("Rpl_semi_sync_master_status") == "OFF"
        found.pair.fail_over()
    connections[ALIAS].close()
    found.store.create("ticket", "theirs")  # the second winner


@pytest.mark.parametrize(("point", "reads"), [("AFTER_SYNC", None), ("AFTER_COMMIT", "mine")])
def test_the_wait_point_decides_whether_others_read_what_a_promotion_loses(
    point: str, reads: str | None, fail_over: FailOver
) -> None:
    found = fail_over(HOUR)
    store, pair = found.store, found.pair
    pair.primary.query(f"SET GLOBAL rpl_semi_sync_master_wait_point = {point}")
    with pair.cut_off():
        with elsewhere(lambda: store.create("ticket", "mine")) as [call]:
            pair.wait_for_waiting_commits()
            assert found.on_primary.get("ticket") == reads
            pair.fail_over()
        error = call.exception()
    assert isinstance(error, StoreUnavailableError) and error.maybe_applied
    connections[ALIAS].close()
    assert "ticket" not in store


def test_a_replica_that_has_caught_up_is_promoted_under_load_without_a_loss(
    fail_over: FailOver,
) -> None:
    """Open connections still lead to the old primary: each process leaves it after one refusal."""
    found = fail_over(None)
    with writing(processes=4) as writers:
        writers.read(30)
        found.pair.primary.query("SET GLOBAL read_only = 1")
        found.pair.catch_up()
        found.pair.promote()
        writers.read(30)  # by the same processes
        writers.stop()
    refused = [r for r in writers.reports if r.done is not True and r.call != "claim"]
    assert refused and all(report.done is False for report in refused)
    connections[ALIAS].close()
    writers.assert_kept(found.store)
