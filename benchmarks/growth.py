"""How long calls take as a store grows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.cache import caches
from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver

from .cases import value
from .report import SMALL, Spread, table

PREFIX = "page:"
PAGE = 1000
LIFETIME = 86_400
CALLS = 50
ROUNDS = 40
LEAST_ROUNDS = 3
SIZE = {
    "sqlite": ["SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"],
    "postgresql": ["SELECT pg_total_relation_size('django_persist_entry')"],
    "mysql": [
        "ANALYZE TABLE django_persist_entry",
        (
            "SELECT data_length + index_length FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = 'django_persist_entry'"
        ),
    ],
}
LOG = {
    "postgresql": "SELECT pg_current_wal_insert_lsn() - '0/0'",
    "mysql": "SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'",  # its name, and the number
}
SETS = 1000
SECONDS = 2.0
"""The time for one figure. Calls that read every key are then measured less often."""


def grow(alias: str, sizes: Sequence[int]) -> None:
    """Print the microseconds of calls at some numbers of entries, in ascending order."""
    store = stores[alias]
    lines: dict[str, list[str]] = {}
    sizes = sorted(sizes)
    empty = size_in_bytes(alias)
    try:
        for before, size in zip((0, *sizes), sizes, strict=False):
            fill(store, before, size)
            for name, call in _calls(store, size):
                lines.setdefault(name, []).append(str(_microseconds(call)))
            for name, cost in _server_cost(alias, size):
                lines.setdefault(name, []).append(f"{cost:.0f}")
            if empty is not None:
                each = ((size_in_bytes(alias) or 0) - empty) / size
                lines.setdefault("bytes per entry", []).append(f"{each:.0f}")
    finally:
        store.clear()
    rows = [[name, *figures] for name, figures in lines.items()]
    print(f"\n{table([f'{alias}, µs', *(f'{size:,} entries' for size in sizes)], rows)}")


def size_in_bytes(alias: str) -> int | None:
    """Return the size that the server reports, with indexes; None for memory."""
    driver = stores[alias].driver
    if isinstance(driver, DatabaseDriver):
        return int(_number(driver.using, *SIZE[connections[driver.using].vendor]))
    if isinstance(driver, MemoryDriver):
        return None
    return int(_info(alias, "memory")["used_memory"])


def _server_cost(alias: str, size: int) -> Iterator[tuple[str, float]]:
    """Yield what one set costs the server: bytes of its log, or CPU time."""
    driver = stores[alias].driver
    calls = dict(_calls(stores[alias], size))
    meter: Callable[[], float]
    if isinstance(driver, DatabaseDriver):
        statement = LOG.get(connections[driver.using].vendor)
        if statement is None:
            return
        name, meter = "log bytes per set", lambda: _number(driver.using, statement)
    elif isinstance(driver, MemoryDriver):
        return
    else:
        name, meter = "server CPU per set, µs", lambda: _cpu(alias)
    before = meter()
    for _ in range(SETS):
        calls["set"]()
    yield name, (meter() - before) / SETS


def _cpu(alias: str) -> float:
    info = _info(alias, "cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"]) * 1e6


def _number(using: str, *statements: str) -> float:
    """Return the number that the last statement returns, in its last column."""
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            row = cursor.fetchone()
        return float(row[-1])


def _info(alias: str, section: str) -> dict[str, Any]:
    return caches[alias].client.get_client().info(section)  # type: ignore[attr-defined, no-any-return]


def key(number: int) -> str:
    return f"{PREFIX}{number:08}"


def fill(store: Store, start: int, end: int) -> None:
    for first in range(start, end, PAGE):
        numbers = range(first, min(first + PAGE, end))
        store.set_many({key(n): value(SMALL, n) for n in numbers}, expires=LIFETIME)


def _calls(store: Store, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
    dice = random.Random(1)
    new = value(SMALL, -1)
    hundred = key(size - 1)[:-2]
    yield "get", lambda: store.get(key(dice.randrange(size)))
    yield "set", lambda: store.set(key(dice.randrange(size)), new, expires=LIFETIME)
    yield "keys(prefix), 100 of them", lambda: list(store.keys(hundred))
    yield "count(prefix), 100 of them", lambda: store.count(hundred)


def _microseconds(call: Callable[[], object]) -> Spread:
    figures: list[float] = []
    began = time.perf_counter()
    call()
    calls = min(CALLS, 1 + int(SECONDS / ROUNDS / (time.perf_counter() - began)))
    deadline = time.perf_counter() + SECONDS
    while len(figures) < LEAST_ROUNDS or (len(figures) < ROUNDS and time.perf_counter() < deadline):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        figures.append((time.perf_counter() - began) / calls * 1e6)
    return Spread.of(figures)
