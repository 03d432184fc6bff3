"""Calls beside other work, and how long they take."""

from __future__ import annotations

import multiprocessing
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from math import nan
from statistics import quantiles
from typing import Any, NamedTuple

from django.db import connections

from django_persist import stores

KEYS = [f"live:{number}" for number in range(1000)]
GET_EVERY, SET_EVERY = 0.002, 0.005
"""The seconds between calls."""

Samples = list[tuple[float, float]]
"""When a call was due, and how many seconds later it had finished."""


class Latency(NamedTuple):
    """The median, the 99th percentile and the maximum of some calls, in any unit."""

    median: float
    p99: float
    worst: float

    @classmethod
    def of(cls, took: Sequence[float]) -> Latency:
        if len(took) < 2:  # The work was over before a second call was due.
            took = [*took, *took] or [nan, nan]
        hundredths = quantiles(took, n=100, method="inclusive")
        return cls(hundredths[49], hundredths[98], max(took))

    def __str__(self) -> str:
        return " / ".join(f"{figure:.2f}" if figure < 20 else f"{figure:.0f}" for figure in self)


class Traffic:
    """One caller that gets and one that sets, each in its own process or thread.

    Calls are due at fixed intervals. If a call blocks, the next ones are measured from when they
    were due, so a pause of one second counts for every call that was due in it.
    """

    def __init__(self, alias: str, *, processes: bool) -> None:
        kind: Any = multiprocessing.get_context("fork") if processes else threading
        self._stop = kind.Event()
        self._samples: Any = kind.SimpleQueue() if processes else queue.SimpleQueue()
        self._crew = [
            kind.Process(target=self._work, args=(alias, name))
            if processes
            else kind.Thread(target=self._work, args=(alias, name))
            for name in ("get", "set")
        ]
        self._took: dict[str, Samples] = {}

    def __enter__(self) -> Traffic:
        connections.close_all()  # Or the child processes would share them.
        for each in self._crew:
            each.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self._stop.set()
        self._took = dict(self._samples.get() for _ in self._crew)
        for each in self._crew:
            each.join()

    def latency(self, name: str, began: float, ended: float) -> Latency:
        """Return the latency in milliseconds of the gets or sets that were due in a period."""
        return Latency.of(
            [seconds * 1000 for due, seconds in self._took[name] if began <= due <= ended]
        )

    def _work(self, alias: str, name: str) -> None:
        store = stores[alias]
        dice = random.Random(1)
        calls: dict[str, tuple[Callable[[], object], float]] = {
            "get": (lambda: store.get(dice.choice(KEYS)), GET_EVERY),
            "set": (lambda: store.set(dice.choice(KEYS), 1, expires=None), SET_EVERY),
        }
        call, every = calls[name]
        samples: Samples = []
        due = time.perf_counter()
        while not self._stop.is_set():
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
                due = time.perf_counter()  # Sleeping too long is not the store's fault.
            call()
            samples.append((due, time.perf_counter() - due))
            due += every
        connections.close_all()
        self._samples.put((name, samples))
