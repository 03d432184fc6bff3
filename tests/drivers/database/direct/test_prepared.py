"""Prepared statements on PostgreSQL: where the project's `prepare_threshold` allows them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction

from django_persist import Store, persist
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.database.direct.postgresql import DirectPostgreSQL
from django_persist.models import Entry
from tests import servers
from tests.aliases import alias, another
from tests.conftest import BACKENDS, OpenStore
from tests.drivers.database.direct.conftest import Count
from tests.drivers.database.test_refused import run
from tests.processes import race
from tests.servers.pgbouncer import PgBouncer

TABLE = Entry._meta.db_table


def options(**more: Any) -> dict[str, Any]:
    return {**another("postgresql")["OPTIONS"], **more}


@contextmanager
def preparing(threshold: int | None, **settings: Any) -> Iterator[Store]:
    """A store on a connection with this threshold."""
    database = another("postgresql", OPTIONS=options(prepare_threshold=threshold), **settings)
    with alias("prepared", database) as name:
        store = Store(DatabaseDriver(name))
        store.set("key", 1)
        yield store


def prepared(using: str = "prepared") -> int:
    """Return how many statements of ours this session has prepared."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'persist%'")
        return int(cursor.fetchone()[0])


@pytest.fixture(autouse=True)
def cleared(open_store: OpenStore) -> Store:
    """The database of the tests, where all entries are deleted at the end."""
    return open_store("postgresql")


def test_without_a_threshold_nothing_is_prepared(count: Count) -> None:
    with preparing(None) as store:
        assert count.of(lambda: [store.get("key") for _ in range(20)]) == 20
        assert prepared() == 0


def test_django_s_default_prepares_nothing(cleared: Store, count: Count) -> None:
    cleared.set("key", 1)
    assert count.of(lambda: [cleared.get("key") for _ in range(20)]) == 20
    assert prepared("postgresql") == 0


@pytest.mark.parametrize("threshold", [0, 1, 5])
def test_a_statement_is_prepared_after_as_many_uses(threshold: int, count: Count) -> None:
    with preparing(threshold) as store:
        before = prepared()
        for n in range(threshold):
            assert count.of(lambda: store.get("key")) == 1
            assert prepared() == before, n
        assert store.get("key") == 1
        assert prepared() == before + 1
        for n in range(2, threshold + 5):
            store.set("other", n)
            assert store.get("other") == n
            assert store.get("key") == 1
        assert prepared() == 2


def test_inside_a_transaction_nothing_is_prepared(count: Count) -> None:
    with preparing(0) as store:
        before = prepared()
        with transaction.atomic("prepared"):
            store.get("key")  # sends BEGIN
            assert count.of(lambda: [store.get("key") for _ in range(5)]) == 5
        assert prepared() == before
        store.get("key")
        run("prepared", "DEALLOCATE ALL")
        with transaction.atomic("prepared"):
            store.set("key", 2)
            assert store.get("key") == 2  # An error would have ended the transaction.
        assert store.get("key") == 2


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_a_statement_that_the_server_has_lost_is_sent_again(statement: str, count: Count) -> None:
    with preparing(0) as store:
        for n in range(3):
            store.set("key", n)
            assert store.get("key") == n
            run("prepared", statement)
            assert prepared() == 0
            assert store.get("key") == n
            assert store.incr("counter") == n + 1
            assert store.get("key") == n
            assert prepared() == 2
        assert count.direct > 12


def test_another_session_that_alters_the_table_makes_no_error(count: Count) -> None:
    with preparing(0) as store:
        assert store.get("key") == 1
        name = connections["prepared"].ops.quote_name("value")
        try:
            for kind, n in (("varchar", 2), ("text", 3)):
                run("postgresql", f"ALTER TABLE {TABLE} ALTER COLUMN {name} TYPE {kind}")
                assert store.get("key") == n - 1
                assert store.get("key") == n - 1
                store.set("key", n)
                assert store.get("key") == n
                assert store.incr("counter") == n - 1
        finally:
            run("postgresql", f"ALTER TABLE {TABLE} ALTER COLUMN {name} TYPE text")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One element for each answer of the server to what went below the cursor."""
    read: list[None] = []
    real = DirectPostgreSQL._result

    def counted(self: Any) -> Any:
        read.append(None)
        return real(self)

    monkeypatch.setattr(DirectPostgreSQL, "_result", counted)
    return read


def test_two_stores_on_a_connection_share_what_it_has_prepared(answers: list[None]) -> None:
    with preparing(0) as store:
        assert store.get("key") == 1
        another_store = Store(DatabaseDriver("prepared"))
        assert another_store.get("key") == 1
        assert prepared() == 2
        answers.clear()
        for _ in range(10):
            assert store.get("key") == another_store.get("key") == 1
        assert len(answers) == 20


def test_a_statement_whose_columns_have_changed_is_prepared_no_more(answers: list[None]) -> None:
    """It is sent once for each call. Its name stands for the old one until the session ends."""
    with preparing(0) as store:
        assert store.get("key") == 1
        try:
            run("postgresql", f"ALTER TABLE {TABLE} ALTER COLUMN value TYPE varchar")
            assert store.get("key") == 1
            assert store.get("key") == 1
            answers.clear()
            for _ in range(10):
                assert store.get("key") == 1
            assert len(answers) == 10
        finally:
            run("postgresql", f"ALTER TABLE {TABLE} ALTER COLUMN value TYPE text")


def use_sets(i: int) -> int:
    """Make calls of different statements in each process, on sessions that all share."""
    for n in range(60):
        if i % 2:
            persist.set(f"{i}", n)
            assert persist.get(f"{i}") == n
        else:
            assert persist.incr(f"{i}") == n + 1
            assert f"missing {i}" not in persist
            assert persist.touch(f"{i}", 100 + n)
        assert persist.remove(f"missing {i}") is False
    return int(persist.get(f"{i}"))


def test_sessions_that_a_pooler_shares(settings: Any, pgbouncer: str, cleared: Store) -> None:
    """The session of the next statement may have prepared others, or none."""
    bouncer = PgBouncer(servers.postgresql(), "transaction", default_pool_size="2")
    bouncer.start()
    through = another(
        "postgresql",
        HOST="127.0.0.1",
        PORT=bouncer.port,
        DISABLE_SERVER_SIDE_CURSORS=True,
        OPTIONS=options(prepare_threshold=1),
    )
    try:
        with alias("pooled sessions", through) as name:
            settings.PERSIST = {"default": {**BACKENDS["postgresql"], "OPTIONS": {"using": name}}}
            assert race(use_sets, processes=4) == [60, 59, 60, 59]
    finally:
        bouncer.kill()


def test_threads_with_psycopg_s_pool(count: Count) -> None:
    """A connection wanders from thread to thread, with what it has prepared."""
    failures: list[BaseException] = []
    with preparing(1) as store:
        database = another(
            "postgresql",
            CONN_MAX_AGE=0,
            OPTIONS=options(prepare_threshold=1, pool={"min_size": 2, "max_size": 3}),
        )
        with alias("pooled", database) as name:
            pooled = Store(DatabaseDriver(name))

            def use(i: int) -> None:
                try:
                    for n in range(40):
                        assert pooled.incr(f"counter {i}") == n + 1
                        pooled.set(f"{i}", n)
                        assert pooled.get(f"{i}") == n
                        if n % 4 == 3:
                            connections[name].close()  # gives it back to the pool
                except BaseException as error:
                    failures.append(error)
                finally:
                    connections.close_all()

            threads = [threading.Thread(target=use, args=[i]) for i in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            connections[name].close()
            connections[name].close_pool()  # type: ignore[attr-defined]
        assert failures == []
        assert [store.get(f"counter {i}") for i in range(6)] == [40] * 6
    assert count.direct > 6 * 40
