"""Servers and writers killed while they write: acknowledged writes are kept, and work goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_persist import Store, stores
from tests.aliases import alias, migrate, sqlite
from tests.conftest import DATABASE, DATABASE_SERVERS, OwnServer
from tests.writers import writing

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def default(settings: Any) -> Callable[[str], Store]:
    """Return a function that puts the default store into the database of an alias."""

    def default_(using: str) -> Store:
        settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": using}}}
        return stores["default"]

    return default_


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_ends_under_load_keeps_acknowledged_writes(
    end: str, own: OwnServer, default: Callable[[str], Store]
) -> None:
    store = default(own.alias)
    with writing() as writers:
        for _ in range(2):
            writers.read(30)
            getattr(own.server, end)()
            time.sleep(0.1)
            own.server.start()
            writers.read(30)  # by the same processes
        writers.stop()
    assert any(report.done is not True for report in writers.reports if report.call != "claim")
    writers.assert_kept(store)


@pytest.fixture(params=["WAL", "DELETE"])
def journal(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[str]:
    """An alias of a SQLite file that is synced at every commit, with each kind of journal."""
    # On a busy machine many writers may wait for longer than SQLite's five seconds.
    init_command = f"PRAGMA journal_mode={request.param}; PRAGMA synchronous=FULL"
    database = sqlite(init_command=init_command, timeout=30)
    with django_db_blocker.unblock(), alias("journal", database) as name:
        migrate(name)
        yield name


def assert_a_killed_writer_loses_nothing(store: Store) -> None:
    with writing() as writers:
        writers.read(10)
        writers.kill()
    started = time.monotonic()
    for report in writers.reports:
        if report.call == "incr":
            store.touch(report.key, None)  # no lock is left
    assert time.monotonic() - started < 5
    writers.assert_kept(store)
    assert sum(report.done is True for report in writers.reports) >= 3 * 10


def test_a_killed_writer_loses_nothing_on_sqlite(
    journal: str, default: Callable[[str], Store]
) -> None:
    for _ in range(2):
        store = default(journal)
        assert_a_killed_writer_loses_nothing(store)
        with connections[journal].cursor() as cursor:
            cursor.execute("PRAGMA integrity_check")
            assert cursor.fetchall() == [("ok",)]
        store.clear()


@pytest.mark.parametrize("database", DATABASE_SERVERS)
def test_a_killed_writer_loses_nothing(database: str, open_store: Callable[..., Store]) -> None:
    for _ in range(2):
        store = open_store(database)
        assert_a_killed_writer_loses_nothing(store)
        store.clear()
