"""How fast what has expired goes, and what others notice of it meanwhile."""

from __future__ import annotations

import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

from django.db import connections

from django_persist import Store
from django_persist.cache import Slot
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import now
from django_persist.models import Entry

QUIET_SECONDS = 3.0
LIVE = [f"live:{number}" for number in range(1000)]
SECOND = 1_000_000

TABLE = Entry._meta.db_table
EXPIRE = (
    f"UPDATE {TABLE} SET expires_at = %(now)s - expires_at %% 1000000 WHERE expires_at IS NOT NULL"
)
DELETE = f"DELETE FROM {TABLE} WHERE expires_at <= %(now)s"


def purge(store: Store, using: str, number: int, fill: Callable[[], None]) -> None:
    """Print the rate of a purge against one DELETE, and the latency of others' calls beside it.

    `fill` stores the entries that are then made to have expired, and purged.
    """
    store.set_many(dict.fromkeys(LIVE, 1), expires=None)
    print(f"\nPurge of {number:,} beside gets and sets, in milliseconds: median, 99 %, worst")
    with _traffic(store) as latencies:
        time.sleep(QUIET_SECONDS)
    print(f"  quiet: {latencies()}", flush=True)
    ways: dict[str, Callable[[], object]] = {
        "one DELETE": lambda: _run(using, DELETE),
        "purge()": store.purge,
    }
    for name, work in ways.items():
        fill()
        _run(using, EXPIRE)
        with _traffic(store) as latencies:
            began = time.perf_counter()
            work()
            rate = number / (time.perf_counter() - began)
        print(f"  {name}, {rate:,.0f} a second: {latencies()}", flush=True)


def _run(using: str, statement: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, {"now": now() - SECOND})


@contextmanager
def _traffic(store: Store) -> Iterator[Callable[[], str]]:
    """Get and set from another thread meanwhile; yield a function that says how long that took."""
    took: dict[str, list[float]] = {"get": [], "set": []}
    stop = threading.Event()

    def work() -> None:
        dice = random.Random(1)
        while not stop.is_set():
            key = dice.choice(LIVE)
            began = time.perf_counter()
            store.get(key)
            between = time.perf_counter()
            store.set(key, 1, expires=None)
            took["get"].append(between - began)
            took["set"].append(time.perf_counter() - between)
            stop.wait(0.0005)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: ", ".join(f"{name} {_latency(times)}" for name, times in took.items())
    finally:
        stop.set()
        thread.join()


def _latency(seconds: list[float]) -> str:
    hundredths = quantiles(seconds, n=100, method="inclusive")
    figures = (hundredths[49], hundredths[98], max(seconds))
    return " ".join(f"{figure * 1000:.2f}" for figure in figures)


def give_back(driver: MemoryDriver, number: int) -> None:
    """Print the bytes an entry takes in memory, and how long it takes to give them back."""
    memory = driver.memory
    ended = now() - SECOND
    texts = [(f"page:{n:08}", b"%d" % n) for n in range(number)]
    tracemalloc.start()
    with memory.lock:
        for key, text in texts:
            memory.put(key, Slot(text, ended - int(key[-4:]) * SECOND))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\nAn entry takes {size / number:.0f} bytes beside its key and its text")
    longest = 0.0
    began = time.perf_counter()
    for _ in driver.purge(1000):
        longest = max(longest, time.perf_counter() - began)
        began = time.perf_counter()
    print(
        f"A batch of 1,000 that have expired is given back in {longest * 1000:.1f} ms at the most"
    )
