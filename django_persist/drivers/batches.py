"""How large a batch is: as large as it can be without being in the way of others for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

SECONDS: Final = 0.05
"""How long a batch should take: for so long others may have to wait for it."""

EXCLUSIVE_SECONDS: Final = 0.01
"""The same, where a batch keeps all other writers waiting."""

PAUSE: Final = 0.5
"""How long such a batch is followed by none, of the time that it took: else those who wait, and
look only now and then whether they may go on, would find the next batch each time."""

MOST: Final = 20
"""How many times as large as the first one a batch can get."""


def batches(
    first: int, delete: Callable[[int], tuple[int, bool]], *, exclusive: bool = False
) -> Iterator[int]:
    """Yield how many entries each batch deleted: `first` at most, then as many as time allows.

    `delete` takes how many it may delete, and returns how many it did, and whether more are left.
    `exclusive` says that nobody else can write meanwhile.
    """
    target = EXCLUSIVE_SECONDS if exclusive else SECONDS
    size, is_more = first, True
    while is_more:
        started = time.monotonic()
        deleted, is_more = delete(size)
        took = time.monotonic() - started
        yield deleted
        # Doubled or halved at most: the next one may meet other rows, and other writers.
        factor = target / took if took else 2.0
        size = max(1, min(int(size * min(max(factor, 0.5), 2.0)), MOST * first))
        if exclusive and is_more:
            time.sleep(took * PAUSE)
