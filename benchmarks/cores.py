"""Which core the calls are made on, and which ones the servers run on.

Left to the scheduler, the server process of a connection stays on the core of its client for long,
or on another one, and the call differs by that: one to PostgreSQL took 70 or 125 microseconds, one
through django-redis 40 or 74 of CPU. Contenders with their own connections could not be compared.
A web worker, too, has its servers on other cores or machines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
OURS = set(sorted(ALL)[:1])
OTHERS = ALL - OURS


def leave_one() -> None:
    """Let this process, and the servers that it starts from now on, leave one core alone."""
    if OTHERS:
        os.sched_setaffinity(0, OTHERS)


def take_it() -> None:
    """Let this process have that core alone. Servers that ran before stay where they are."""
    if OTHERS:
        os.sched_setaffinity(0, OURS)


@contextmanager
def on_ours() -> Iterator[None]:
    """Make the calls of the block on that core."""
    take_it()
    try:
        yield
    finally:
        leave_one()
