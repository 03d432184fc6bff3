"""Compares the CPU time that a call takes from a web worker, including that of the kernel.

A web worker runs out of CPU time long before a server does. It is also steadier than the time on
the clock.

In each round every contender makes a few calls, with a pause before each: between two calls a web
worker does other work, and the server goes to sleep. To wake it up is part of a call.
"""

from __future__ import annotations

import gc
import time
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from statistics import median

from .cases import OPERATIONS, Batch, Load, Operation, check, value
from .compare import close
from .contenders import Contender
from .lineup import cpu_contenders
from .report import SMALL, Case, Result, case, header, line, table
from .timing import FEW_KEYS, Timing

PAUSE = 50e-6
"""Seconds before each call."""

CALLS = 20
"""The calls of a round, whose mean is one figure."""

MIN_ROUNDS = 20
WARM_UP_ROUNDS = 5


def compare_cpu(store: str, running: Collection[str], options: Namespace) -> Iterator[Case]:
    """Yield a case for each operation of a store, and print its tables: ratios, least times."""
    lineup = cpu_contenders(store, running)
    names = [contender.name for contender in lineup]
    for contender in lineup:
        check(contender, Load.of(0, FEW_KEYS, value(SMALL, 0)))
    print(f"\n{header(store, names[1:], 'µs of CPU')}", flush=True)
    cases = []
    with ExitStack() as stack:
        stack.callback(close, lineup)
        for name in options.operations:
            operation, size = OPERATIONS[name], options.sizes[0]
            timings = _measure(lineup, operation, size, options.seconds * len(lineup))
            size_shown = size if operation.sized else None
            cases.append(case(store, name, size_shown, 1, timings, by_cpu=True))
            print(line(cases[-1], names[1:]), flush=True)
            yield cases[-1]
    rows = [[each.name, *map(_least, each.results)] for each in cases]
    print(f"\n{table([f'{store}, least µs of CPU', *names], rows)}", flush=True)


def _measure(
    lineup: Sequence[Contender], operation: Operation, size: int, seconds: float
) -> list[Timing]:
    """Return the CPU time of each contender's calls, in as many rounds as `seconds` allow."""
    loads = [Load.of(number, 1, value(size, 0)) for number in range(CALLS)]
    for contender in lineup:
        for load in loads:
            load.fill(contender)
    timings = [Timing(contender) for contender in lineup]
    clock = median(_cpu_seconds(lambda: None) for _ in range(1000))
    deadline = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for number in count():
            if number >= MIN_ROUNDS and time.perf_counter() > deadline:
                break
            # Each contender is first as often as last.
            for turn in range(len(timings)):
                _round(timings[(number + turn) % len(timings)], operation, loads, clock)
            gc.collect(0)
    finally:
        gc.enable()
    for timing in timings:
        del timing.cpu[:WARM_UP_ROUNDS]
        for load in loads:
            load.empty(timing.contender)
    return timings


def _round(timing: Timing, operation: Operation, loads: Sequence[Load], clock: float) -> None:
    """Add the mean of a call for each load. `clock` is what the measurement itself takes."""
    spent = 0.0
    for load in loads:
        batch = operation.prepare(timing.contender, load, 1)
        _pause()
        spent += _cpu_seconds(batch) - clock
    timing.cpu.append(spent / len(loads) * 1e6)


def _pause() -> None:
    until = time.perf_counter() + PAUSE
    while time.perf_counter() < until:
        pass


def _cpu_seconds(batch: Batch) -> float:
    started = time.process_time()
    batch()
    return time.process_time() - started


def _least(result: Result) -> str:
    times = result.cpu_microseconds
    return "failed" if times is None else f"{times.least:.1f}"
