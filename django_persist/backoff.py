"""Retries for a call that lost against another: bounded in number and time, with jitter."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import count

LONGEST_WAIT = 0.05
"""Seconds. The upper bound of the wait doubles from the third try on, until it reaches this."""


def attempts(most: int, seconds: float) -> Iterator[int]:
    """Yield 0, 1, 2, ... for up to `most` tries within `seconds`, waiting before the later ones.

    The second try follows at once, because most calls win then. Each wait is drawn from the whole
    interval up to its bound, so that writers that lost together don't collide again.
    """
    deadline = time.monotonic() + seconds
    yield 0
    yield from retries(most, deadline)


def retries(most: int, deadline: float) -> Iterator[int]:
    """Yield 1, 2, ... for the tries after the first, as `attempts` does."""
    for attempt in range(1, most):
        if attempt > 1:
            time.sleep(random.uniform(0, min(LONGEST_WAIT, 0.001 * 2**attempt)))
        if time.monotonic() > deadline:
            return
        yield attempt


def polls(seconds: float, longest: float = 0.5) -> Iterator[int]:
    """Yield 0, 1, 2, ... for tries at what others have now: at once, then for up to `seconds`.

    The waits grow up to `longest` seconds, with jitter, and the last try is at the very end.
    """
    deadline = time.monotonic() + seconds
    yield 0
    bound = 0.02
    for attempt in count(1):
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, random.uniform(bound / 2, bound)))
        bound = min(2 * bound, longest)
        yield attempt
