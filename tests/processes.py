"""Races between processes that start at the same moment, each with its own connections."""

from __future__ import annotations

import atexit
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from typing import Any, TypeAlias

import django
from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections

# The fork server imports once what most of its processes need. Each then starts quickly.
PRELOADED = ["tests.processes", "tests.conftest", "psycopg", "django_redis", "django.test"]
# These import Django REST framework and build models of pydantic's.
PRELOADED += ["tests.contrib.test_rate_limit", "tests.races.test_deploys"]
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)
if not settings.configured:
    django.setup()

from django_persist.drivers.database import DatabaseDriver  # noqa: E402

PROCESSES = 6

DEFAULTS: dict[str, Any] = DatabaseDriver.__init__.__kwdefaults__ or {}
"""The options that a driver has without OPTIONS."""


def race(function: Callable[..., Any], *args: Any, processes: int = PROCESSES) -> list[Any]:
    """Call `function(i, *args)` in each process i at the same moment; return their results.

    Raises TimeoutError after two minutes.
    """
    calls = [(place(), function, i, args) for i in range(processes)]
    return _pool(processes).starmap_async(_run, calls, chunksize=1).get(timeout=120)


@cache
def _pool(processes: int) -> Pool:
    pool = context.Pool(processes, initializer=_keep, initargs=(context.Barrier(processes),))
    atexit.register(pool.terminate)
    return pool


_barrier: Barrier


def _keep(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


Place: TypeAlias = tuple[dict[str, Any], Any, Any, bool]


def place() -> Place:
    """Return the databases, caches and stores of this process, which a test may have changed.

    Also whether statements take the direct way.
    """
    databases = {alias: connections[alias].settings_dict for alias in connections}
    return databases, settings.CACHES, settings.PERSIST, DEFAULTS["direct"]


def enter(place: Place) -> None:
    """Use the databases, caches and stores that `place` returned in another process."""
    databases, caches, persist, direct = place
    DEFAULTS["direct"] = direct
    for alias, database in databases.items():
        connections.settings[alias] = database
        with suppress(AttributeError):  # There was no connection of that name yet.
            del connections[alias]
    for name, value in (("CACHES", caches), ("PERSIST", persist)):
        setattr(settings, name, value)
        setting_changed.send(sender=None, setting=name, value=value, enter=True)


def _run(place: Place, function: Callable[..., Any], i: int, args: tuple[Any, ...]) -> Any:
    enter(place)
    _barrier.wait(60)
    try:
        return function(i, *args)
    finally:
        connections.close_all()
