"""The size of the batches of a purge: as large as possible without blocking others for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

SECONDS: Final = 0.05
"""How long a batch should take. Others may have to wait that long."""

EXCLUSIVE_SECONDS: Final = 0.01
"""The same, if a batch blocks all other writers."""

PAUSE: Final = 0.5
"""The pause after such a batch, as a share of its time. Waiting writers poll for the lock; without
a pause they would find the next batch holding it each time."""

MOST: Final = 20
"""How many times larger than the first batch a batch can get."""


def batches(
    first: int, delete: Callable[[int], tuple[int, bool]], *, exclusive: bool = False
) -> Iterator[int]:
    """Yield how many entries each batch deleted: at most `first`, then as many as time allows.

    `delete` takes the most it may delete; it returns how many it deleted and whether more are left.
    `exclusive` means that nobody else can write meanwhile.
    """
    target = EXCLUSIVE_SECONDS if exclusive else SECONDS
    size, is_more = first, True
    while is_more:
        started = time.monotonic()
        deleted, is_more = delete(size)
        took = time.monotonic() - started
        yield deleted
        # At most doubled or halved: the next batch may meet other rows and other writers.
        factor = target / took if took else 2.0
        size = max(1, min(int(size * min(max(factor, 0.5), 2.0)), MOST * first))
        if exclusive and is_more:
            time.sleep(took * PAUSE)
