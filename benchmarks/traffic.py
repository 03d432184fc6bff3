"""Calls of others beside some work, and how long they had to wait."""

from __future__ import annotations

import multiprocessing
import queue
import random
import threading
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any, NamedTuple

from django.db import connections

from django_persist import stores

KEYS = [f"live:{number}" for number in range(1000)]
GET_EVERY, SET_EVERY = 0.002, 0.005
"""Seconds from one call to the next."""

Samples = list[tuple[float, float]]
"""When a call was due, and how many seconds later it was done."""


class Latency(NamedTuple):
    """Of some calls, in milliseconds: half were no longer than this, 99 of 100, and all."""

    median: float
    most: float
    worst: float

    def __str__(self) -> str:
        return " / ".join(f"{figure:.2f}" if figure < 20 else f"{figure:.0f}" for figure in self)


class Traffic:
    """One that gets and one that sets, each in a process of its own, or else in a thread.

    What is due while another call still waits counts from when it was due: a wait of a second is
    that of all the calls that would have come in it.
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
        connections.close_all()  # else a process would share those of this one
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
        """Return that of the gets, or the sets, which were due between two moments."""
        took = [seconds * 1000 for due, seconds in self._took[name] if began <= due <= ended]
        hundredths = quantiles(took or [0.0], n=100, method="inclusive") if len(took) > 1 else took
        return Latency(hundredths[len(hundredths) // 2], hundredths[-1], max(took))

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
                due = time.perf_counter()  # that it slept for too long is not the store's
            call()
            samples.append((due, time.perf_counter() - due))
            due += every
        connections.close_all()
        self._samples.put((name, samples))
