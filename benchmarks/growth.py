"""What becomes of the times as a store grows, and by which index it lists."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver

from .cases import value
from .report import SMALL, Spread
from .shrinking import give_back, purge

PAGE = 1000
LIFETIME = 86_400
CALLS = 50
ROUNDS = 40
PLAN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (COSTS OFF)", "mysql": "EXPLAIN"}


def grow(alias: str, sizes: list[int]) -> None:
    """Print how a store behaves at some numbers of entries, the least first."""
    store = stores[alias]
    size = 0
    try:
        for size, before in zip(sorted(sizes), (0, *sorted(sizes)), strict=False):
            fill(store, before, size)
            print(f"\n{alias}, {size:,} entries", flush=True)
            for name, call in _calls(store, size):
                print(f"  {name}: {_microseconds(call)} µs", flush=True)
        if isinstance(store.driver, DatabaseDriver):
            _print_plans(store.driver)
            store.clear()
            purge(store, store.driver.using, size, lambda: fill(store, 0, size))
        elif isinstance(store.driver, MemoryDriver):
            store.clear()
            give_back(store.driver, size)
    finally:
        store.clear()


def key(number: int) -> str:
    return f"page:{number:08}"


def fill(store: Store, start: int, end: int) -> None:
    for first in range(start, end, PAGE):
        numbers = range(first, min(first + PAGE, end))
        store.set_many({key(n): value(SMALL, n) for n in numbers}, expires=LIFETIME)


def _calls(store: Store, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    dice = random.Random(1)
    new = value(SMALL, -1)
    yield "get", lambda: store.get(key(dice.randrange(size)))
    yield "set", lambda: store.set(key(dice.randrange(size)), new, expires=LIFETIME)
    yield "keys, a hundred of one prefix", lambda: list(store.keys(key(size - 1)[:-2]))
    yield "count of that prefix", lambda: store.count(key(size - 1)[:-2])


def _microseconds(call: Callable[[], object]) -> Spread:
    figures = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        figures.append((time.perf_counter() - began) / CALLS * 1e6)
    return Spread.of(figures)


def _print_plans(driver: DatabaseDriver) -> None:
    """Print how the database finds what is listed, cleared, and purged."""
    sql = driver.sql
    connection = connections[driver.using]
    page = {"first": key(100), "end": key(200), "now": 1, "limit": PAGE}
    doomed = {"keys": sql.keys_parameter([key(1), key(2)]), "now": 1}
    # MariaDB's purge reads a page, then deletes it by key.
    purging = getattr(sql, "purge_page", sql.purge)
    expired = {"now": 1, "limit": PAGE, "reached": 0, "reached_key": ""}
    statements: dict[str, tuple[str, Any]] = {
        "get": (sql.get, {"key": key(1)}),
        "keys": (sql.keys, page),
        "keys, a later page": (sql.keys_next, page),
        "count": (sql.count, page),
        "clear, remove_many": (sql.remove_many, doomed),
        "purge": (purging, expired),
    }
    print("\nPlans")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE django_persist_entry")
        for name, (statement, params) in statements.items():
            cursor.execute(f"{PLAN[connection.vendor]} {statement}", params)
            print(f"  {name}:")
            for row in cursor.fetchall():
                print("   ", *(part for part in row if part is not None))
