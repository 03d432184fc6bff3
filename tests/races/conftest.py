"""The stores on which processes race: each server, SQLite with both journals, and PgBouncer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_persist import Store
from tests.aliases import alias, migrate, sqlite
from tests.conftest import DATABASES

ROLLBACK = "sqlite-rollback"


@pytest.fixture(scope="session")
def rollback_journal(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """An alias for SQLite with a rollback journal, where readers and writers exclude each other."""
    # On a busy machine many writers may wait for longer than SQLite's five seconds.
    init_command = "PRAGMA journal_mode=DELETE; PRAGMA synchronous=NORMAL"
    database = sqlite(init_command=init_command, timeout=30)
    with alias(ROLLBACK, database):
        with django_db_blocker.unblock():  # only here: other tests of the worker must not connect
            migrate(ROLLBACK)
        yield ROLLBACK


@pytest.fixture(params=[*DATABASES, ROLLBACK, "pgbouncer", "valkey", "redis"])
def shared_store(request: pytest.FixtureRequest, open_store: Callable[..., Store]) -> Store:
    """The default store, on each server that other processes can reach, in turn."""
    if request.param == ROLLBACK:
        name = request.getfixturevalue("rollback_journal")
        return open_store("sqlite", OPTIONS={"using": name})
    if request.param == "pgbouncer":
        return open_store("postgresql", OPTIONS={"using": request.getfixturevalue("pgbouncer")})
    return open_store(request.param)
