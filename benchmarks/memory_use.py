"""The memory that an entry takes, and how long calls wait while expired entries are freed."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from statistics import quantiles

from django_persist import Store, stores
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import now
from django_persist.memory import Memory, Slot

from .growth import key
from .report import table
from .traffic import KEYS, Latency, Traffic

SECOND = 1_000_000
QUIET_SECONDS = 5.0
CALLS = 50_000
SPREADS = {"in one second": 1, "in an hour": 3600, "in a day": 86400}
HEAD = ["{}, {:,} expired", "get: median / 99 % / worst", "set"]


def memory_use(alias: str, number: int) -> None:
    """Print the latency of calls beside many expired entries, and the bytes of an entry."""
    store = stores[alias]
    driver = store.driver
    if not isinstance(driver, MemoryDriver):
        return
    store.set_many(dict.fromkeys(KEYS, 1), expires=None)
    rows = [["nothing expired, µs", *_alone(store)]]
    for spread, seconds in SPREADS.items():
        _expire(driver.memory, number, seconds)
        rows.append([f"expired {spread}, µs", *_alone(store)])
        store.purge()
    quiet = _beside(alias, lambda: time.sleep(QUIET_SECONDS))
    rows.append(["nothing expired, two threads, ms", *quiet])
    for spread, seconds in SPREADS.items():
        _expire(driver.memory, number, seconds)
        rows.append([f"purge(), expired {spread}, ms", *_beside(alias, store.purge)])
    print(f"\n{table([HEAD[0].format(alias, number), *HEAD[1:]], rows)}\n")
    for name, lifetime in (("that expires", 86_400), ("that never expires", None)):
        size = _bytes(driver.memory, number, lifetime)
        print(f"An entry {name} takes {size:.0f} bytes besides its key and its text.")
    store.clear()


def _alone(store: Store) -> Iterator[str]:
    """Yield the latency of gets and of sets in a single thread."""
    dice = random.Random(1)
    for call in (store.get, lambda key: store.set(key, 1, expires=None)):
        took = []
        for _ in range(CALLS):
            name = dice.choice(KEYS)
            began = time.perf_counter()
            call(name)
            took.append((time.perf_counter() - began) * 1e6)
        hundredths = quantiles(took, n=100)
        yield str(Latency(hundredths[49], hundredths[98], max(took)))


def _beside(alias: str, work: Callable[[], object]) -> list[str]:
    with Traffic(alias, processes=False) as traffic:
        began = time.perf_counter()
        work()
        ended = time.perf_counter()
    return [str(traffic.latency(name, began, ended)) for name in ("get", "set")]


def _expire(memory: Memory, number: int, seconds: int) -> None:
    """Store entries that have expired, spread over the last `seconds`."""
    expired = now() // SECOND * SECOND - 1
    with memory.lock:
        for n in range(number):
            memory.put(key(n), Slot(b"%d" % n, expired - n % seconds * SECOND))


def _bytes(memory: Memory, number: int, seconds: int | None) -> float:
    """Return the bytes that an entry takes besides its key and its text."""
    ready = [(key(n), b"%d" % n) for n in range(number)]
    start = now()
    tracemalloc.start()
    with memory.lock:
        for n, (name, text) in enumerate(ready):
            expires_at = None if seconds is None else start + (n % seconds + 60) * SECOND
            memory.put(name, Slot(text, expires_at))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with memory.lock:
        memory.clear()
    return size / number
