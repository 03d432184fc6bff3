"""PostgreSQL through PgBouncer: what works with transaction pooling, and what doesn't without."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import Store
from django_persist.contract.atomic import AtomicContract
from django_persist.contract.counters import CountersContract
from django_persist.contract.many import ManyContract
from django_persist.contract.threads import ThreadsContract
from django_persist.drivers.base import Driver
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import StoreUnavailableError
from tests import servers
from tests.aliases import alias, another
from tests.conftest import OpenStore
from tests.servers.pgbouncer import PgBouncer

pytestmark = pytest.mark.usefixtures("way")


class TestTransactionPooling(AtomicContract, CountersContract, ManyContract, ThreadsContract):
    """The part of the contract that is about concurrent calls and calls for many keys."""

    @pytest.fixture
    def driver(self, open_store: OpenStore, pgbouncer: str) -> Driver:
        return open_store("postgresql", OPTIONS={"using": pgbouncer}).driver


def test_a_transaction_keeps_its_session_while_others_use_the_rest(
    open_store: OpenStore, pgbouncer: str
) -> None:
    store = open_store("postgresql", OPTIONS={"using": pgbouncer})
    others = [connections[pgbouncer].copy() for _ in range(6)]
    with transaction.atomic(pgbouncer):
        store.incr("counter")
        for other in others:  # in turn, over the two sessions that are left
            with other.cursor() as cursor:
                cursor.execute("SELECT 1")
        assert store.incr("counter") == 2
        transaction.set_rollback(True, using=pgbouncer)
    for other in others:
        other.close()
    assert store.get("counter") is None


@pytest.fixture
def statement_pooling(open_store: OpenStore, pgbouncer: str) -> Iterator[Store]:
    """A store through a PgBouncer that gives each statement another session."""
    bouncer = PgBouncer(servers.postgresql(), "statement")
    bouncer.start()
    open_store("postgresql")  # deletes all entries at the end
    with alias("statement pooling", another(pgbouncer, PORT=bouncer.port)) as name:
        yield Store(DatabaseDriver(name))
    bouncer.kill()


def set_inside(store: Store) -> None:
    with transaction.atomic("statement pooling"):
        store.set("key", 2)


REFUSED: dict[str, Callable[[Store], object]] = {
    "set_many": lambda store: store.set_many({f"many:{n}": 1 for n in range(2001)}),
    "remove_many": lambda store: store.remove_many(["key", *(f"many:{n}" for n in range(2001))]),
    "purge": lambda store: store.purge(),
    "in a transaction": set_inside,
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_statement_pooling_is_named_and_nothing_is_applied(
    call: Callable[[Store], object], statement_pooling: Store
) -> None:
    statement_pooling.set("key", 1)
    with pytest.raises(StoreUnavailableError, match="pool_mode = transaction") as caught:
        call(statement_pooling)
    assert caught.value.maybe_applied is False
    assert isinstance(caught.value.__cause__, OperationalError)
    assert dict(statement_pooling.get_many(["key", "many:1"])) == {"key": 1}
    assert statement_pooling.count() == 1


@pytest.mark.parametrize(
    "call",
    [lambda store: store.incr("counter"), lambda store: store.purge()],
    ids=["incr", "purge, in a transaction of its own"],
)
def test_a_pooler_without_a_free_connection_is_named_and_nothing_is_applied(
    call: Callable[[Store], object], open_store: OpenStore, pgbouncer: str
) -> None:
    bouncer = PgBouncer(
        servers.postgresql(), "transaction", default_pool_size="1", query_wait_timeout="1"
    )
    bouncer.start()
    open_store("postgresql")  # deletes all entries at the end
    with alias("crowded", another(pgbouncer, PORT=bouncer.port)) as name:
        store = Store(DatabaseDriver(name))
        store.set("counter", 1)
        other = connections[name].copy()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")  # It keeps the only session until its transaction ends.
        with pytest.raises(StoreUnavailableError, match="query_wait_timeout") as caught:
            call(store)
        assert caught.value.maybe_applied is False
        other.rollback()
        other.close()
        assert store.incr("counter") == 2
    bouncer.kill()


TIMEOUT = {"options": "-c statement_timeout=5000"}


def test_pgbouncer_refuses_the_option_options_or_ignores_it(
    open_store: OpenStore, pgbouncer: str
) -> None:
    open_store("postgresql")
    with alias("refused", another(pgbouncer, OPTIONS=TIMEOUT)) as name:
        with pytest.raises(StoreUnavailableError, match="startup parameter: options") as caught:
            Store(DatabaseDriver(name)).set("key", 1)
        assert caught.value.maybe_applied is False
    bouncer = PgBouncer(servers.postgresql(), "transaction", ignore_startup_parameters="options")
    bouncer.start()
    with alias("ignored", another(pgbouncer, PORT=bouncer.port, OPTIONS=TIMEOUT)) as name:
        Store(DatabaseDriver(name)).set("key", 1)
        with connections[name].cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchall() == [("0",)]
    bouncer.kill()
