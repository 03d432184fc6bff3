"""The cost of encoding a value, and of our check that it reads back, beside pickle."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

from django_persist.codec import encode, to_text

from .cases import VALUES
from .report import Spread, table

BATCH_SECONDS = 0.002
MIN_ROUNDS = 20
WAYS: tuple[Callable[[Any], bytes], ...] = (to_text, encode, pickle.dumps)


def compare_encoding(seconds: float) -> None:
    """Print a line for each value, in microseconds of CPU time.

    The proof is what our encoding takes longer than msgspec's. The ratio is pickle's time divided
    by ours.
    """
    head = ("value", "bytes", "msgspec, µs", "ours, µs", "proof, µs", "pickle, µs", "pickle / ours")
    print(table(head, [_row(name, value, seconds) for name, value in VALUES.items()]))


def _row(name: str, value: Any, seconds: float) -> tuple[str, ...]:
    plain, ours, pickled = _measure(value, seconds)
    proof = Spread.of([one - other for one, other in zip(ours, plain, strict=True)])
    ratio = Spread.of([one / other for one, other in zip(pickled, ours, strict=True)])
    figures = (Spread.of(plain), Spread.of(ours), proof, Spread.of(pickled), ratio)
    return name, f"{len(to_text(value)):,}", *map(str, figures)


def _measure(value: Any, seconds: float) -> list[list[float]]:
    """Return the microseconds of each way in each round, in which all ways run one batch."""
    calls = max(1, int(BATCH_SECONDS * 1e6 / median(_batch(encode, value, 1) for _ in range(9))))
    times: list[list[float]] = [[] for _ in WAYS]
    deadline = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for number in count():
            if number >= MIN_ROUNDS and time.perf_counter() > deadline:
                return times
            # Each way is first equally often.
            for index in range(len(WAYS)):
                which = (number + index) % len(WAYS)
                times[which].append(_batch(WAYS[which], value, calls))
    finally:
        gc.enable()
    raise AssertionError("count() never ends")


def _batch(way: Callable[[Any], bytes], value: Any, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        way(value)
    return (time.process_time() - started) / calls * 1e6
