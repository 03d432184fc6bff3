"""Measures batches of calls: in each round, every contender runs one.

So anything else that the machine does slows all contenders equally.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from threading import Barrier

from .cases import Batch, Load, Operation, value
from .contenders import Contender

BATCH_SECONDS = 0.004
"""The duration of a batch: short, so that a busy moment is spread over all contenders."""

MAX_CALLS = 2000
ROUNDS = range(5, 400)
"""The number of rounds: from 5, however slow they are, to 400."""

CALIBRATION_ROUNDS = 3

MANY_KEYS, FEW_KEYS, LARGE = 800, 200, 50_000
"""Each thread has FEW_KEYS keys, or its share of MANY_KEYS unless the values exceed LARGE bytes.

Not 1000 keys: a listing that ends exactly at the end of a page needs another query.
"""


@dataclass
class Timing:
    """The time of a contender in each round, in microseconds per call: wall time and CPU time.

    With several threads it is the time of the round divided by the calls of all threads. CPU time
    is that of this process, without the servers.
    """

    contender: Contender
    calls: int = 1
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    failure: str | None = None


class Crew:
    """Threads that run batches at the same time; a crew of one is the calling thread.

    `settle` is called before the batches. At the end each thread calls `close_thread`, which closes
    its connections.
    """

    def __init__(
        self,
        threads: int,
        close_thread: Callable[[], None],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self.threads = threads
        self._close_thread = close_thread
        self._settle = settle
        self._pool = ThreadPoolExecutor(threads)
        self._ready = Barrier(threads + 1)

    def run(self, batches: Sequence[Batch]) -> tuple[float, float]:
        """Return the seconds of wall time and of CPU time that the batches took."""
        self._settle()
        gc.collect(0)
        gc.disable()
        try:
            return self._alone(batches[0]) if self.threads == 1 else self._together(batches)
        finally:
            gc.enable()

    def _alone(self, batch: Batch) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        batch()
        return time.perf_counter() - wall, time.process_time() - cpu

    def _together(self, batches: Sequence[Batch]) -> tuple[float, float]:
        running = [self._pool.submit(self._await_others, batch) for batch in batches]
        self._ready.wait()
        cpu, wall = time.process_time(), time.perf_counter()
        wait(running)
        took = time.perf_counter() - wall, time.process_time() - cpu
        for each in running:
            each.result()  # Raises the thread's exception.
        return took

    def _await_others(self, batch: Batch) -> None:
        self._ready.wait()
        batch()

    def close(self) -> None:
        self.run([self._close_thread] * self.threads)
        self._pool.shutdown()


def measure(
    contenders: Sequence[Contender], operation: Operation, size: int, crew: Crew, seconds: float
) -> list[Timing]:
    """Measure one operation of all contenders for `seconds`."""
    keys = max(FEW_KEYS, (FEW_KEYS if size > LARGE else MANY_KEYS) // crew.threads)
    editions = [
        [Load.of(thread, keys, value(size, edition)) for thread in range(crew.threads)]
        for edition in (0, 1)
    ]
    timings = [Timing(contender) for contender in contenders]
    for timing in timings:
        for load in editions[0]:
            load.fill(timing.contender)
        _calibrate(timing, operation, editions[0], crew)
    deadline = time.perf_counter() + seconds
    for number in count():
        if number >= ROUNDS.stop or (number >= ROUNDS.start and time.perf_counter() > deadline):
            break
        # Each contender is first as often as last, and follows every other one.
        shift = number // 2 % len(timings)
        order = timings[shift:] + timings[:shift]
        for timing in order if number % 2 else order[::-1]:
            _round(timing, operation, editions[number % 2], crew)
    for timing in timings:
        for load in editions[0]:
            load.empty(timing.contender)
    return timings


def _calibrate(timing: Timing, operation: Operation, loads: list[Load], crew: Crew) -> None:
    """Find how many calls take about BATCH_SECONDS. This warms the contender up, too."""
    most = len(loads[0].values) if operation.consuming else MAX_CALLS
    while True:
        # A busy machine makes a round seem long. Then too few calls would be measured, all cold.
        for _ in range(CALIBRATION_ROUNDS):
            _round(timing, operation, loads, crew)
        if timing.failure is not None or timing.calls >= most:
            break
        took = min(timing.wall[-CALIBRATION_ROUNDS:]) * timing.calls * crew.threads / 1e6
        if took > BATCH_SECONDS / 2:
            break
        timing.calls = min(most, int(timing.calls * min(8, BATCH_SECONDS / took)))
    timing.wall.clear()
    timing.cpu.clear()


def _round(timing: Timing, operation: Operation, loads: list[Load], crew: Crew) -> None:
    if timing.failure is not None:
        return
    try:
        batches = [operation.prepare(timing.contender, load, timing.calls) for load in loads]
        wall, cpu = crew.run(batches)
    except Exception as error:  # noqa: BLE001 (a failing peer is a result)
        timing.failure = f"{type(error).__name__}: {str(error)[:100]}"
        return
    calls = timing.calls * crew.threads
    timing.wall.append(wall / calls * 1e6)
    timing.cpu.append(cpu / calls * 1e6)
