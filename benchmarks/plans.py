"""Which index each statement uses, according to the databases themselves."""

from __future__ import annotations

from typing import Any

from django.db import connections

from django_persist import stores
from django_persist.drivers.database import DatabaseDriver

from .growth import PAGE, fill, key

ENTRIES = 20_000
EXPLAIN = {
    "sqlite": "EXPLAIN QUERY PLAN",
    "postgresql": "EXPLAIN (COSTS OFF)",
    "mysql": "EXPLAIN FORMAT=TRADITIONAL",
}


def plans(alias: str) -> None:
    """Print the query plans of the driver's statements, on a table that was just filled."""
    store = stores[alias]
    driver = store.driver
    if not isinstance(driver, DatabaseDriver):
        return
    fill(store, 0, ENTRIES)
    print(f"\n{alias}\n\n```text")
    for name, (statement, params) in _statements(driver).items():
        with connections[driver.using].cursor() as cursor:
            vendor = cursor.db.vendor
            cursor.execute(f"{EXPLAIN[vendor]} {statement}", params)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        print(name, *(f"  {line}" for row in rows for line in _line(vendor, row)), sep="\n")
    print("```")
    store.clear()


def _statements(driver: DatabaseDriver) -> dict[str, tuple[str, Any]]:
    sql = driver.sql
    page = {"first": key(100), "end": "page;", "now": 1, "limit": PAGE}
    removed = {"keys": sql.keys_parameter([key(1), key(2)]), "now": 1}
    expired = {"now": 2**60, "limit": PAGE, "reached": 0, "reached_key": ""}
    return {
        "get": (sql.get, {"key": key(1)}),
        "keys, and the keys that clear() removes": (sql.keys_next, page),
        "items": (sql.items_next, page),
        "count": (sql.count, page),
        "remove_many, and clear()": (sql.remove_many, removed),
        # MariaDB's purge reads a page, then deletes it by key.
        "purge": (getattr(sql, "purge_page", sql.purge), expired),
    }


def _line(vendor: str, row: dict[str, Any]) -> list[str]:
    if vendor == "postgresql":
        line = str(row["QUERY PLAN"])
        # Nodes that only pass a parameter on say nothing about the plan.
        return [] if "InitPlan" in line.split("Cond")[0] or "Result" in line else [line]
    if vendor == "sqlite":
        return [str(row["detail"])]
    columns = ("type", "key", "key_len", "Extra")
    return [", ".join(f"{name}: {row[name]}" for name in columns if row[name])]
