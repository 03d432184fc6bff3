"""Purging several stores in one go: what the command `purge_persist` and the task share."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.db import Error as DatabaseError

from .exceptions import PersistError
from .handler import stores
from .keyspace import CHUNK
from .store import Store


class Purge:
    """Delete the expired entries of one store, or of all. A store that fails is left to the end.

    The stores of one place share their expired entries: purging one of them purges all, so that of
    those only the first is purged. Raises InvalidStoreError for an unknown alias.
    """

    def __init__(self, alias: str | None = None) -> None:
        self.stores: dict[str, Store] = (
            _one_per_place() if alias is None else {alias: stores[alias]}
        )
        self.numbers: dict[str, int] = dict.fromkeys(self.stores, 0)
        """How many entries were deleted, or counted. Right at any moment, however it ends."""
        self.errors: dict[str, Exception] = {}
        """What went wrong with which store. The others have been purged all the same."""
        self.stopped = False
        """Whether it stopped because of `max_seconds`."""

    def run(self, batch_size: int = CHUNK, max_seconds: float | None = None) -> Iterator[str]:
        """Delete them in batches, and yield the alias after each. Start none after `max_seconds`.

        Raises ValueError, before the first batch, if `batch_size` is not a positive int.
        """
        deadline = None if max_seconds is None else time.monotonic() + max_seconds
        for alias, store in self.stores.items():
            with self._collected(alias):
                for number in store.keyspace.purge_steps(batch_size):
                    self.numbers[alias] += number
                    yield alias
                    if deadline is not None and time.monotonic() > deadline:
                        self.stopped = True
                        return

    def count(self) -> None:
        """Count the expired entries instead."""
        for alias, store in self.stores.items():
            with self._collected(alias):
                self.numbers[alias] = store.driver.expired()

    @contextmanager
    def _collected(self, alias: str) -> Iterator[None]:
        try:
            yield
        except server_errors() as error:
            self.errors[alias] = error


def _one_per_place() -> dict[str, Store]:
    first: dict[Hashable, str] = {}
    for alias in stores:
        first.setdefault(stores[alias].place().location, alias)
    return {alias: stores[alias] for alias in first.values()}


def server_errors() -> tuple[type[Exception], ...]:
    """Return what a call can raise because of its server: our errors, and those of its library."""
    redis = sys.modules.get("redis")  # Without it, no store can have raised an error of Redis.
    return (PersistError, DatabaseError, *(() if redis is None else (redis.RedisError,)))
