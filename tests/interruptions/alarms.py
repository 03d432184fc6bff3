"""Interrupt calls by the alarms of a real timer, at random moments."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from tests.interruptions.moments import LimitError

INTERRUPTED = object()

REPEAT = 0.5
"""Seconds until the next alarm, if a call goes on after one."""

LIMITS = (LimitError, TimeoutError)
"""What a handler raises, by turns: an exception of a project's own, and the one that many use. A
client takes that one for a timeout of its socket."""


@contextmanager
def alarms() -> Iterator[Callable[..., Any]]:
    """Hand out a function that makes a call and interrupts it after some seconds, if it can.

    It returns what the call returned, or INTERRUPTED.
    """

    is_armed = False
    limits = cycle(LIMITS)
    limit = next(limits)

    def raise_limit(signum: int, frame: Any) -> None:
        if is_armed:
            raise limit("the time limit")

    def interrupted(call: Callable[[], Any], seconds: float) -> Any:
        nonlocal is_armed, limit
        limit = next(limits)
        try:
            is_armed = True
            # Repeated, because Python drops what is raised within a destructor.
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6), REPEAT)
            return call()
        except limit:
            return INTERRUPTED
        finally:
            is_armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, raise_limit)
    try:
        yield interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def at_random(typical: float) -> float:
    """Return a moment, in seconds, within a call that takes about `typical` seconds."""
    return random.uniform(0, 1.3 * typical)
