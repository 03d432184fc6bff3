"""Ours and the same statement by hand, call by call in turn: for differences of a few microseconds.

What a batch of either takes differs by a tenth from one to the next. Two calls that follow one
another differ by less, and thousands of such pairs tell one in a hundred.
"""

from __future__ import annotations

import gc
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import count
from statistics import median

from .cases import MANY, OPERATIONS, Batch, Load, Operation, value
from .contenders import Contender
from .lineup import contenders
from .report import Spread
from .servers import analyze
from .targets import BY_HAND, HAND_WRITTEN

LOADS = 40
SLICES = 10
LEAST_PAIRS = 100


def compare_by_turns(store: str, options: Namespace) -> bool:
    """Print each operation of a store beside its floor; return whether all are as near as is asked.

    The spread is that of the ratios of ten slices of the run.
    """
    ours, *others = contenders(store)
    floor = next((each for each in others if each.name in HAND_WRITTEN), None)
    if floor is None:
        return True
    size = options.sizes[0]
    loads = [Load.of(number, MANY, value(size, number % 2)) for number in range(LOADS)]
    print(f"\n| {store} | ours, µs | {floor.name} / ours | more CPU time, µs |")
    print("| --- | ---: | ---: | ---: |")
    near = True
    for name in options.operations:
        for load in loads:
            load.fill(ours)
            load.fill(floor)
        analyze(store)
        ratio, line = _line((ours, floor), OPERATIONS[name], loads, options.seconds)
        near &= ratio >= BY_HAND
        print(f"| {name} | {line} |", flush=True)
    for load in loads:
        load.empty(ours)
        load.empty(floor)
    return near


def _line(
    pair: Sequence[Contender], operation: Operation, loads: Sequence[Load], seconds: float
) -> tuple[float, str]:
    wall, cpu = _measure(pair, operation, loads, seconds)
    ratio = median(wall[1]) / median(wall[0])
    slices = [
        median(wall[1][number::SLICES]) / median(wall[0][number::SLICES])
        for number in range(SLICES)
    ]
    spread = Spread.of(slices)
    more = median(cpu[0]) - median(cpu[1])
    return ratio, (
        f"{median(wall[0]):.1f} | {ratio:.3f} ({spread.low:.3f} to {spread.high:.3f}) | {more:.1f}"
    )


def _measure(
    pair: Sequence[Contender], operation: Operation, loads: Sequence[Load], seconds: float
) -> tuple[list[list[float]], list[list[float]]]:
    """Return what each call took in microseconds, by the clock and of CPU time: ours, the floor."""
    wall: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    gc.collect()
    gc.disable()
    try:
        deadline = time.perf_counter() + seconds
        for number in count():
            if number >= LEAST_PAIRS and time.perf_counter() > deadline:
                break
            # The second of a pair finds everything warm: each is as often the first.
            for which in (0, 1) if number % 2 else (1, 0):
                # Far from each other: no call finds a row as the other has just left it.
                load = loads[(number + which * LOADS // 2) % LOADS]
                took = _timed(operation.prepare(pair[which], load, 1))
                wall[which].append(took[0])
                cpu[which].append(took[1])
            if number % LOADS == 0:
                gc.collect()
    finally:
        gc.enable()
    return wall, cpu


def _timed(batch: Batch) -> tuple[float, float]:
    cpu, wall = time.thread_time(), time.perf_counter()
    batch()
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    return wall * 1e6, cpu * 1e6
