"""How a database finds keys: by the primary key alone, whatever its statistics are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.backends.utils import CursorWrapper

from django_persist.drivers.database import DatabaseDriver
from tests.conftest import BACKENDS, DATABASES

EXPLAIN = {
    "sqlite": "EXPLAIN QUERY PLAN",
    "postgresql": "EXPLAIN",
    "mysql": "EXPLAIN FORMAT=TRADITIONAL",
}
PRIMARY = {
    "sqlite": "sqlite_autoindex_django_persist_entry_1 (key",
    "postgresql": "django_persist_entry_pkey",
    "mysql": "PRIMARY",
}
# A thousand expire together, which keeps the index of expires_at small.
FILL = {
    "sqlite": "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)"
    " INSERT INTO django_persist_entry"
    " SELECT printf('page:%08d', n), '1', 32503680000000000 + n / 1000 FROM s",
    "postgresql": "INSERT INTO django_persist_entry"
    " SELECT 'page:' || lpad(n::text, 8, '0'), repeat('1', 200), 32503680000000000 + n / 1000"
    " FROM generate_series(1, 100000) AS n",
    "mariadb": "INSERT INTO django_persist_entry"
    " SELECT CONCAT('page:', LPAD(seq, 8, '0')), '1', 32503680000000000 + seq DIV 1000"
    " FROM seq_1_to_100000",
    "mysql": "INSERT INTO django_persist_entry"
    " WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)"
    " SELECT CONCAT('page:', LPAD(n, 8, '0')), '1', 32503680000000000 + n DIV 1000 FROM s",
}
EXPIRED = (
    "INSERT INTO django_persist_entry"
    " SELECT 'page:' || md5(n::text), repeat('1', 200), 0 FROM generate_series(1, 5000) AS n"
)


def fill(cursor: CursorWrapper) -> None:
    """Insert many entries that expire."""
    name = cursor.db.vendor
    if name == "mysql" and cursor.db.mysql_is_mariadb:
        name = "mariadb"
    elif name == "mysql":
        cursor.execute("SET cte_max_recursion_depth = 100000")
    cursor.execute(FILL[name])


@contextmanager
def filled(connection: Any) -> Iterator[CursorWrapper]:
    """Insert many entries that expire, and delete them at the end."""
    with connection.cursor() as cursor:
        fill(cursor)
        try:
            yield cursor
        finally:
            cursor.execute("DELETE FROM django_persist_entry")
            if connection.vendor == "sqlite":
                cursor.execute("VACUUM")  # other tests fill the file


@pytest.fixture(scope="module", params=DATABASES)
def driver(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[DatabaseDriver]:
    """A driver with many entries that expire, and the statistics that have misled the database.

    The tests only read, so that they can share the entries.
    """
    driver = DatabaseDriver(**BACKENDS[request.param]["OPTIONS"])
    with django_db_blocker.unblock(), connections[driver.using].cursor() as cursor:
        vendor = cursor.db.vendor
        if vendor == "postgresql":
            # TRUNCATE keeps the statistics: in these, keys are in no order, and all have expired.
            cursor.execute("TRUNCATE django_persist_entry")
            cursor.execute(EXPIRED)
            cursor.execute("ANALYZE django_persist_entry")
            cursor.execute("TRUNCATE django_persist_entry")
        with filled(cursor.db):
            if vendor == "mysql":
                cursor.execute("ANALYZE TABLE django_persist_entry")
            yield driver


def test_keys_are_found_by_their_index_alone(driver: DatabaseDriver) -> None:
    sql = driver.sql
    page = {"first": "page:00000100", "end": "page:00000200", "now": 1}
    several = {"keys": sql.keys_parameter([f"page:{n:08}" for n in range(1, 10)]), "now": 1}
    for statement, params in (
        (sql.keys, page | {"limit": 1000}),
        (sql.keys_next, page | {"limit": 1000}),
        (sql.items, page | {"limit": 100}),
        (sql.items_next, page | {"limit": 100}),
        (sql.count, page),
        (sql.get_many, several),
        (sql.remove_many, several),
    ):
        plan = explain(driver, statement, params)
        assert PRIMARY[connections[driver.using].vendor] in plan, statement
        assert "django_persist_expires_at" not in plan, statement


def test_rows_that_are_read_in_order_are_not_sorted(driver: DatabaseDriver) -> None:
    sql = driver.sql
    page = {"first": "page:00000100", "end": "page;", "now": 1, "limit": 1000}
    purge = {"now": 2**60, "limit": 1000, "reached": 0, "reached_key": ""}
    for statement, params in (
        (sql.keys, page),
        (sql.keys_next, page),
        (sql.items, page),
        (sql.items_next, page),
        # On MariaDB and MySQL a purge reads a page, and deletes it by key.
        (getattr(sql, "purge_page", sql.purge), purge),
    ):
        plan = explain(driver, statement, params)
        for sorting in ("Sort", "TEMP B-TREE", "filesort"):
            assert sorting not in plan, statement


def explain(driver: DatabaseDriver, statement: str, params: dict[str, Any]) -> str:
    with connections[driver.using].cursor() as cursor:
        cursor.execute(f"{EXPLAIN[cursor.db.vendor]} {statement}", params)
        names = [column[0] for column in cursor.description]
        # MariaDB and MySQL also list what they could have used.
        return "\n".join(
            " ".join(
                str(part) for name, part in zip(names, row, strict=True) if name != "possible_keys"
            )
            for row in cursor.fetchall()
        )


def assert_in_key_order(driver: DatabaseDriver, sql: str) -> None:
    """Fail unless a query that was sent reads the primary key in its order, and sorts nothing."""
    plan = explain(driver, sql.replace("%", "%%"), {})
    assert PRIMARY[connections[driver.using].vendor].removesuffix(" (key") in plan
    assert not re.search(r"(?i)\bsort|temp b-tree|filesort|expires_at \(", plan), plan
