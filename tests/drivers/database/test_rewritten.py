"""A table that is rewritten, and sessions that are killed, while processes write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections

from django_persist import Store
from django_persist.models import Entry
from tests.extent import LONG
from tests.writers import writing

TABLE = Entry._meta.db_table
OF_MYSQL = (
    f"OPTIMIZE TABLE {TABLE}",
    f"ALTER TABLE {TABLE} ENGINE=InnoDB, ALGORITHM=COPY",
    f"ALTER TABLE {TABLE} FORCE, ALGORITHM=INPLACE",
)
REWRITES = {
    "sqlite": ("VACUUM", "REINDEX"),
    "postgresql": (
        f"VACUUM FULL {TABLE}",
        f"CLUSTER {TABLE} USING {TABLE}_pkey",
        f"REINDEX TABLE {TABLE}",
    ),
    "mariadb": OF_MYSQL,
    "mysql": OF_MYSQL,
}


@pytest.mark.parametrize("database", REWRITES)
def test_a_table_that_is_rewritten_under_load_costs_no_write(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    alias = store.driver.using  # type: ignore[attr-defined]
    with writing() as writers:
        for statement in REWRITES[database]:
            writers.read(10)
            with connections[alias].cursor() as cursor:
                cursor.execute(statement)
        writers.read(10)
        writers.stop()
    assert [r for r in writers.reports if r.done is not True and r.call != "claim"] == []
    writers.assert_kept(store)


SESSIONS = (
    "SELECT id FROM information_schema.processlist "
    "WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command <> 'Killed'"
)

KILL = (
    # 1094: the session has ended meanwhile.
    "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1094 BEGIN END; KILL {}; END"
)


@pytest.mark.parametrize("database", ["mariadb"])
def test_sessions_that_are_killed_under_load_lose_no_acknowledged_write(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    killed = 0
    with writing() as writers, connections[database].cursor() as cursor:
        for _ in range(200 if LONG else 20):
            writers.read(2)
            cursor.execute(SESSIONS)
            for (session,) in cursor.fetchall():
                cursor.execute(KILL.format(session))
                killed += 1
        writers.read(2)
        writers.stop()
    assert killed >= 20
    assert any(r.done is not True for r in writers.reports if r.call != "claim")
    writers.assert_kept(store)
