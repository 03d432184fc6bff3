"""A process of gevent's: greenlets that share a store, and timeouts that interrupt their calls.

Reads the databases, caches and stores from standard input, and prints how many calls were
interrupted. It is a program of its own, because gevent has to patch a process from its start.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402
from typing import Any  # noqa: E402

import django  # noqa: E402
import gevent  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from django_persist import Store, stores  # noqa: E402
from django_persist.exceptions import DuplicateKeyError  # noqa: E402
from tests.interruptions.moments import LimitError  # noqa: E402

INTERRUPTED = object()
MANY = {f"{{many}} {i}": i for i in range(50)}
"""In one slot of a cluster, so that they are set all or not at all."""

CALLS, UPDATES = 8, (6, 7)
LET_RUN = 0.001
"""Seconds for which an update lets other greenlets run."""


def unchanged(old: Any) -> Any:
    """Return the old value after other greenlets have run."""
    gevent.sleep(LET_RUN)
    return old


def limited(number: int, seconds: float) -> gevent.Timeout:
    """Return a timeout that raises what gevent does, or an exception of the project's own."""
    error = None if number % 2 else LimitError("the time limit")
    return gevent.Timeout(seconds, error)


class Greenlet:
    """One that makes calls, some of which are interrupted, on keys of its own and shared ones."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.interrupted = self.counted = self.started = 0
        store.set(name, name)
        self.last = name

    def calls(self, number: int) -> tuple[Any, Any]:
        """Return a call, and what it has to return if it isn't interrupted."""
        store, name = self.store, self.name
        return [
            (lambda: store.get(name), self.last),
            (lambda: f"missing {name}" in store, False),
            (lambda: store.touch(name, None), True),
            (lambda: store.get_many([name, "missing"]), {name: self.last}),
            (self.create, "duplicate"),
            (lambda: store.set_many(MANY), None),
            (lambda: store.update("nothing", unchanged, 0), 0),
            (lambda: store.update(name, unchanged), self.last),
        ][number % CALLS]

    def create(self) -> str:
        try:
            self.store.create(self.name, "another")
        except DuplicateKeyError:
            return "duplicate"
        return "created"

    def make(self, number: int, typical: float) -> None:
        if number % 3 == 0:
            connections.close_all()
        if number % 10 == 0:
            self.store.driver.close()
        call, expected = self.calls(number)
        try:
            # Most calls don't have to connect, and are over much sooner.
            seconds = typical * random.random() ** 3
            if number % CALLS in UPDATES:
                seconds = random.uniform(0, LET_RUN)
            with limited(number, seconds):
                assert call() == expected
        except (gevent.Timeout, LimitError):
            self.interrupted += 1
        # No timeout here: each of these says what is so.
        assert self.store.get(self.name) == self.last
        assert f"missing {self.name}" not in self.store
        assert self.create() == "duplicate"
        self.last = f"{self.name} {number}"
        self.store.set(self.name, self.last)
        assert self.store.get(self.name) == self.last
        before = self.counted
        self.counted = self.store.incr(f"count {self.name}")
        assert self.counted == before + 1

    def run(self, rounds: int, typical: float) -> int:
        try:
            for number in range(rounds):
                self.make(number, typical)
        finally:
            connections.close_all()
        return self.interrupted


def typical(store: Store) -> float:
    """Return how long a call takes that has to connect first."""
    times = []
    for _ in range(9):
        store.driver.close()
        connections.close_all()
        started = time.perf_counter()
        store.get("there")
        times.append(time.perf_counter() - started)
    return sorted(times)[4]


def main() -> None:
    given = json.load(sys.stdin)
    django.setup()
    for alias, database in given["databases"].items():
        connections.settings[alias] = database
        with suppress(AttributeError):  # There was no connection of that name yet.
            del connections[alias]
    settings.CACHES, settings.PERSIST = given["caches"], given["persist"]
    store = stores["default"]
    moment = typical(store) * given["greenlets"]
    workers = [Greenlet(store, f"greenlet {i}") for i in range(given["greenlets"])]
    jobs = [gevent.spawn(worker.run, given["rounds"], moment) for worker in workers]
    gevent.joinall(jobs, raise_error=True)
    assert store.get_many(MANY) in ({}, MANY)
    sys.stdout.write(str(sum(job.value for job in jobs)))


if __name__ == "__main__":
    main()
