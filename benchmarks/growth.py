"""What becomes of the times as a store grows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from django_persist import Store, stores

from .cases import value
from .report import SMALL, Spread, table

PAGE = 1000
LIFETIME = 86_400
CALLS = 50
ROUNDS = 40
SECONDS = 2.0
"""What a figure may take: of calls that look at every key there are then fewer."""


def grow(alias: str, sizes: Sequence[int]) -> None:
    """Print what calls take, in microseconds, at some numbers of entries, the least first."""
    store = stores[alias]
    lines: dict[str, list[str]] = {}
    sizes = sorted(sizes)
    try:
        for before, size in zip((0, *sizes), sizes, strict=False):
            fill(store, before, size)
            for name, call in _calls(store, size):
                lines.setdefault(name, []).append(str(_microseconds(call)))
    finally:
        store.clear()
    rows = [[name, *figures] for name, figures in lines.items()]
    print(f"\n{table([f'{alias}, µs', *(f'{size:,} entries' for size in sizes)], rows)}")


def key(number: int) -> str:
    return f"page:{number:08}"


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
    yield "keys, a hundred by prefix", lambda: list(store.keys(hundred))
    yield "count of that prefix", lambda: store.count(hundred)


def _microseconds(call: Callable[[], object]) -> Spread:
    figures: list[float] = []
    deadline = time.perf_counter() + SECONDS
    calls = CALLS
    while len(figures) < 3 or (len(figures) < ROUNDS and time.perf_counter() < deadline):
        began = time.perf_counter()
        for _ in range(calls):
            call()
            if time.perf_counter() > deadline:
                calls = 1
                break
        else:
            figures.append((time.perf_counter() - began) / calls * 1e6)
    return Spread.of(figures)
