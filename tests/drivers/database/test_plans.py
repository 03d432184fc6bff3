"""How a database finds keys: by their own index alone, whatever it knows of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mysql": "EXPLAIN"}
PRIMARY = {
    "sqlite": "sqlite_autoindex_django_persist_entry_1 (key",
    "postgresql": "django_persist_entry_pkey",
    "mysql": "PRIMARY",
}
# A thousand end together, which makes the index of the expiries a small one.
FILL = {
    "sqlite": "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)"
    " INSERT INTO django_persist_entry"
    " SELECT printf('page:%08d', n), '1', 32503680000000000 + n / 1000 FROM s",
    "postgresql": "INSERT INTO django_persist_entry"
    " SELECT 'page:' || lpad(n::text, 8, '0'), repeat('1', 200), 32503680000000000 + n / 1000"
    " FROM generate_series(1, 100000) AS n",
    "mysql": "INSERT INTO django_persist_entry"
    " SELECT CONCAT('page:', LPAD(seq, 8, '0')), '1', 32503680000000000 + seq DIV 1000"
    " FROM seq_1_to_100000",
}


@pytest.fixture
def driver(database_store: Store) -> Iterator[DatabaseDriver]:
    """A driver of many entries that expire, of which the database has no statistics yet."""
    driver = database_store.driver
    assert isinstance(driver, DatabaseDriver)
    with connections[driver.using].cursor() as cursor:
        vendor = cursor.db.vendor
        if vendor == "postgresql":
            cursor.execute("TRUNCATE django_persist_entry")  # and what autovacuum knows of it
        cursor.execute(FILL[vendor])
        yield driver
        cursor.execute("DELETE FROM django_persist_entry")
        if vendor == "sqlite":
            cursor.execute("VACUUM")  # other tests fill the file up


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


def test_what_is_read_in_order_is_not_sorted(driver: DatabaseDriver) -> None:
    sql = driver.sql
    page = {"first": "page:00000100", "end": "page;", "now": 1, "limit": 1000}
    purge = {"now": 2**60, "limit": 1000, "reached": 0, "reached_key": ""}
    for statement, params in (
        (sql.keys, page),
        (sql.keys_next, page),
        (sql.items, page),
        (sql.items_next, page),
        # MariaDB's reads a page, and deletes it by key.
        (getattr(sql, "purge_page", sql.purge), purge),
    ):
        plan = explain(driver, statement, params)
        for sorting in ("Sort", "TEMP B-TREE", "filesort"):
            assert sorting not in plan, statement


def explain(driver: DatabaseDriver, statement: str, params: dict[str, Any]) -> str:
    with connections[driver.using].cursor() as cursor:
        cursor.execute(f"{EXPLAIN[cursor.db.vendor]} {statement}", params)
        names = [column[0] for column in cursor.description]
        # MariaDB also says what it could have used.
        return "\n".join(
            " ".join(
                str(part) for name, part in zip(names, row, strict=True) if name != "possible_keys"
            )
            for row in cursor.fetchall()
        )
