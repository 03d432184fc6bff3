"""Races between processes: each with connections of its own, all starting at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import django
from django.conf import settings
from django.db import connections

# The server from which processes are forked imports this module once, so that each starts at once.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.processes"])
if not settings.configured:
    django.setup()

PROCESSES = 6


def race(function: Callable[..., Any], *args: Any, processes: int = PROCESSES) -> list[Any]:
    """Call `function(i, *args)` in each process i at the same moment; return what came back."""
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    barrier = context.Barrier(processes)
    with context.Pool(
        processes, initializer=_configure, initargs=(names, settings.PERSIST, barrier)
    ) as pool:
        calls = [(function, i, args) for i in range(processes)]
        return pool.starmap_async(_run, calls, chunksize=1).get(timeout=120)


_barrier: Barrier


def _configure(names: dict[str, Any], persist: Any, barrier: Barrier) -> None:
    """Look at the test databases, and the store, of the process that called `race`."""
    global _barrier
    _barrier = barrier
    for alias, name in names.items():
        connections[alias].settings_dict["NAME"] = name
    settings.PERSIST = persist


def _run(function: Callable[..., Any], i: int, args: tuple[Any, ...]) -> Any:
    _barrier.wait(60)
    return function(i, *args)
