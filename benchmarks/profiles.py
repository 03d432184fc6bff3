"""Where our own time goes: the most costly functions of an operation, from cProfile."""

from __future__ import annotations

import cProfile
import pstats
from argparse import Namespace
from pathlib import Path

from django_persist import stores

from .cases import OPERATIONS, Load, value
from .contenders import Ours

KEYS = 1000
LINES = 16


def profile(store: str, options: Namespace) -> None:
    """Print the most costly functions of each operation, in microseconds per call of it.

    The profiler adds time to every call of a Python function, so shares mean more than totals.
    """
    ours = Ours(stores[store])
    size = options.sizes[0]
    load = Load.of(0, KEYS, value(size, 0))
    load.fill(ours)
    for name in options.operations:
        prepare, _, consuming = OPERATIONS[name]
        calls = KEYS if consuming else 10 * KEYS
        prepare(ours, load, KEYS)()  # Warm up.
        batch = prepare(ours, load, calls)
        profiler = cProfile.Profile()
        profiler.runcall(batch)
        print(f"\n{store}, {name}, {size} B: own µs, cumulative µs, calls, function")
        _print(pstats.Stats(profiler), calls)
    load.empty(ours)


def _print(stats: pstats.Stats, calls: int) -> None:
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])  # type: ignore[attr-defined]
    for (file, line, function), (_, times, own, total, _) in rows[:LINES]:
        where = function if file == "~" else f"{_short(file)}:{line} {function}"
        print(f"{own / calls * 1e6:8.2f} {total / calls * 1e6:8.2f} {times / calls:6.1f}  {where}")


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])
