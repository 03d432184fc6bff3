"""Listing entries takes bounded memory, however many there are."""

from __future__ import annotations

import resource
import sys
import tracemalloc
from collections.abc import Iterable
from typing import Any, Final, cast

import pytest
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.memory import MemoryDriver
from django_persist.memory import Slot
from tests.conftest import BACKENDS, DATABASES, REDIS, OpenStore
from tests.extent import LONG
from tests.processes import Place, context, enter, place
from tests.servers.valkey_servers import start

FEW: Final = 5_000
MANY: Final = 1_000_000 if LONG else 50_000

BOUND: Final = 4_000_000
"""By how many bytes the peak may differ, because of the allocator."""

KILOBYTE: Final = 1 if sys.platform == "darwin" else 1024
"""The unit in which the system reports the peak, in bytes."""

ROWS: Final = {
    "sqlite": (
        "WITH RECURSIVE sequence(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM sequence"
        " WHERE n < {last}) SELECT %s || n, '1', NULL FROM sequence"
    ),
    "postgresql": "SELECT %s || n, '1', NULL FROM generate_series(0, {last}) AS n",
    "mariadb": "SELECT CONCAT(%s, seq), '1', NULL FROM seq_0_to_{last}",
    "mysql": (
        "WITH RECURSIVE sequence(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM sequence"
        " WHERE n < {last}) SELECT CONCAT(%s, n), '1', NULL FROM sequence"
    ),
}
"""Selects numbered rows on each database."""

FILL: Final = "for n = 0, ARGV[2] - 1 do redis.call('SET', ARGV[1] .. n, '1') end"


def check_listings(store: Store, prefix: str, number: int, marks: bytearray) -> None:
    """Assert that each call lists all entries, with no memory of its own besides `marks`."""

    def mark(keys: Iterable[str]) -> int:
        for n in range(len(marks)):
            marks[n] = 0
        listed = 0
        for key in keys:
            marks[int(key.removeprefix(prefix))] = 1
            listed += 1
        assert marks.count(1) == number
        return listed

    assert mark(store.keys(prefix)) == number
    assert mark(key for key, item in store.items(prefix) if item.value == 1) == number
    assert store.count(prefix) == number


def peaks(where: Place, caches: Any) -> list[int]:
    """Return the peak memory of this process in bytes, after listing few entries and after many."""
    django_settings.CACHES = caches
    setting_changed.send(sender=None, setting="CACHES", value=caches, enter=True)
    enter(where)
    marks, found = bytearray(MANY), []
    for prefix, number in (("few:", FEW), ("many:", MANY)):
        check_listings(stores["default"], prefix, number, marks)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE)
    return found


def growth_in_a_process_of_its_own() -> int:
    """Return how much more memory listing many entries takes than listing few."""
    with context.Pool(1) as pool:
        few, many = pool.apply(peaks, (place(), django_settings.CACHES))
    return int(many - few)


@pytest.mark.parametrize("database", DATABASES)
def test_a_database_is_listed_in_bounded_memory(open_store: OpenStore, database: str) -> None:
    open_store(database)
    table = "django_persist_entry"
    with connections[BACKENDS[database]["OPTIONS"]["using"]].cursor() as cursor:
        if database == "mysql":
            cursor.execute("SET cte_max_recursion_depth = %s", [MANY])
        for prefix, number in (("few:", FEW), ("many:", MANY)):
            rows = ROWS[database].format(last=number - 1)
            cursor.execute(f"INSERT INTO {table} {rows}", [prefix])
        if database == "postgresql":
            # The server does this by itself within a minute.
            cursor.execute(f"ANALYZE {table}")
        try:
            assert growth_in_a_process_of_its_own() < BOUND
        finally:
            # Deleting them through the store would take long.
            cursor.execute(f"{'DELETE FROM' if database == 'sqlite' else 'TRUNCATE'} {table}")


def test_a_redis_is_listed_in_bounded_memory(open_store: OpenStore, settings: Any) -> None:
    # A server of its own: on a shared one other tests would scan all these keys too.
    server = start()
    try:
        settings.CACHES = {
            **settings.CACHES,
            "private": {**settings.CACHES["valkey"], "LOCATION": server.url},
        }
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "private"}}}
        place = stores["default"].driver.place()
        for prefix, number in (("few:", FEW), ("many:", MANY)):
            server.run("EVAL", FILL, 0, place.prefix + prefix, number)
        assert growth_in_a_process_of_its_own() < BOUND
    finally:
        server.kill()


def test_a_memory_is_listed_in_eight_bytes_a_key(open_store: OpenStore) -> None:
    # Fewer entries, because tracemalloc is slow.
    number = MANY // 4
    store = open_store("memory")
    driver = cast("MemoryDriver", store.driver)
    with driver.memory.lock:
        for n in range(number):
            driver.memory.put(f"many:{n}", Slot(b"1", None))
    marks = bytearray(number)
    tracemalloc.start()
    try:
        check_listings(store, "many:", number, marks)
        assert tracemalloc.get_traced_memory()[1] < 8 * number + 100_000
    finally:
        tracemalloc.stop()
        with driver.memory.lock:
            driver.memory.clear()
