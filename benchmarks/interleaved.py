"""Alternates single calls of ours and of its baseline, to show differences of a few microseconds.

The time of a batch varies by a tenth from one batch to the next. Two calls in a row vary by less,
and thousands of such pairs show a difference of one percent.
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
from .targets import BASELINES, baseline_ratio

LOADS = 40
SLICES = 10
MIN_PAIRS = 100


def compare_interleaved(store: str, options: Namespace) -> bool:
    """Print each operation of a store beside its baseline; return whether all reach their targets.

    The spread is over the ratios of ten slices of the run.
    """
    ours, *others = contenders(store)
    baseline = next((each for each in others if each.name in BASELINES), None)
    if baseline is None:
        return True
    size = options.sizes[0]
    loads = [Load.of(number, MANY, value(size, number % 2)) for number in range(LOADS)]
    print(f"\n| {store} | ours, µs | {baseline.name} / ours | extra CPU time, µs |")
    print("| --- | ---: | ---: | ---: |")
    all_near = True
    for name in options.operations:
        for load in loads:
            load.fill(ours)
            load.fill(baseline)
        analyze(store)
        ratio, line = _line((ours, baseline), OPERATIONS[name], loads, options.seconds)
        all_near &= ratio >= baseline_ratio(name)
        print(f"| {name} | {line} |", flush=True)
    for load in loads:
        load.empty(ours)
        load.empty(baseline)
    return all_near


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
    extra_cpu = median(cpu[0]) - median(cpu[1])
    cells = (
        f"{median(wall[0]):.1f}",
        f"{ratio:.3f} ({spread.low:.3f} to {spread.high:.3f})",
        f"{extra_cpu:.1f}",
    )
    return ratio, " | ".join(cells)


def _measure(
    pair: Sequence[Contender], operation: Operation, loads: Sequence[Load], seconds: float
) -> tuple[list[list[float]], list[list[float]]]:
    """Return the microseconds of each call, wall and CPU time: those of ours, then the baseline."""
    wall: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    gc.collect()
    gc.disable()
    try:
        deadline = time.perf_counter() + seconds
        for number in count():
            if number >= MIN_PAIRS and time.perf_counter() > deadline:
                break
            # The second of a pair finds everything warm, so each is first equally often.
            for which in (0, 1) if number % 2 else (1, 0):
                # Far apart, so that no call finds a row that the other has just changed.
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
