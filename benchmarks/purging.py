"""How fast expired entries are purged, and how much it slows other calls down."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

from django.db import connections, transaction

from django_persist import stores
from django_persist.drivers import batches
from django_persist.drivers.database import DatabaseDriver
from django_persist.expiry import now
from django_persist.models import Entry

from .growth import PAGE, PREFIX, fill, key
from .report import table
from .traffic import KEYS, Traffic

QUIET_SECONDS = 5.0
TARGETS = (0.01, 0.05, 0.25)
"""The seconds that a batch may take. The driver's own choices are among them."""

SECOND, DAY = 1_000_000, 86_400_000_000
DELETE = f"DELETE FROM {Entry._meta.db_table} WHERE expires_at <= %(now)s"
HEAD = ["{}, {:,} expired", "rows per second", "get, ms: median / 99 % / worst", "set, ms"]


def purge(alias: str, number: int) -> None:
    """Print the rate of a purge and of one DELETE, and the latency of calls beside each."""
    store = stores[alias]
    driver = store.driver
    if not isinstance(driver, DatabaseDriver):
        return
    store.set_many(dict.fromkeys(KEYS, 1), expires=None)
    rows = [["quiet", *_beside(alias, 0, lambda: time.sleep(QUIET_SECONDS))]]
    _expire(driver, number)
    rows.append(["one DELETE", *_beside(alias, number, lambda: _delete(driver.using))])
    ours = batches.EXCLUSIVE_SECONDS if driver.sql.excludes_writers else batches.SECONDS
    for seconds in TARGETS:
        _expire(driver, number)
        with mock.patch.multiple(batches, SECONDS=seconds, EXCLUSIVE_SECONDS=seconds):
            figures = _beside(alias, number, store.purge)
        is_ours = seconds == ours
        name = "purge()" if is_ours else f"batches of {seconds * 1000:.0f} ms"
        rows.append([name, *figures])
    _expire(driver, number, in_order=False)
    rows.append(["purge(), expiries in random order", *_beside(alias, number, store.purge)])
    fill(store, 0, number)
    clear = partial(store.clear, PREFIX)
    rows.append(["clear() of as many live entries", *_beside(alias, number, clear)])
    store.clear()
    print(f"\n{table([HEAD[0].format(alias, number), *HEAD[1:]], rows)}", flush=True)


def _beside(alias: str, number: int, work: Callable[[], object]) -> list[str]:
    with Traffic(alias, processes=True) as traffic:
        began = time.perf_counter()
        work()
        ended = time.perf_counter()
    rate = f"{number / (ended - began):,.0f}" if number else ""
    return [rate, *(str(traffic.latency(name, began, ended)) for name in ("get", "set"))]


def _expire(driver: DatabaseDriver, number: int, *, in_order: bool = True) -> None:
    """Store entries that expired over the last day; with `in_order` in the order of their keys."""
    first = now() - DAY - SECOND
    expires_at = [first + n * DAY // number for n in range(number)]
    if not in_order:
        random.Random(1).shuffle(expires_at)
    for start in range(0, number, PAGE):
        rows: list[dict[str, Any]] = [
            {"key": key(n), "value": "x" * 100, "expires": expires_at[n]}
            for n in range(start, min(start + PAGE, number))
        ]
        with transaction.atomic(driver.using), connections[driver.using].cursor() as cursor:
            cursor.executemany(driver.sql.set, rows)


def _delete(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(DELETE, {"now": now()})
