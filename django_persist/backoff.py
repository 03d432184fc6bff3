"""How a call that lost against another one tries again: a bounded number of times, with jitter."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

LONGEST_WAIT = 0.05
"""Seconds. The waits before the third and later tries double up to here, each drawn at random."""


def attempts(most: int, seconds: float) -> Iterator[int]:
    """Yield 0, 1, 2, ... up to `most` tries, and none after `seconds`; wait before each later one.

    The second try comes at once, as most losers win then; the waits are drawn from the whole
    interval, so that writers who lost together don't meet again.
    """
    deadline = time.monotonic() + seconds
    yield 0
    yield from retries(most, deadline)


def retries(most: int, deadline: float) -> Iterator[int]:
    """Yield 1, 2, ... for the tries after a first one, as `attempts` does."""
    for attempt in range(1, most):
        if attempt > 1:
            time.sleep(random.uniform(0, min(LONGEST_WAIT, 0.001 * 2**attempt)))
        if time.monotonic() > deadline:
            return
        yield attempt
