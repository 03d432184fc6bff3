"""How many keys, and how many bytes, go into one statement of the database driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import TypeVar

from ..base import Write

T = TypeVar("T")

CHUNK_KEYS = 1000
CHUNK_BYTES = 256 * 1024


def chunks(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence of keys or writes into some of CHUNK_KEYS at most."""
    return (entries[start : start + CHUNK_KEYS] for start in range(0, len(entries), CHUNK_KEYS))


def chunks_of_bytes(writes: Sequence[Write], most: int) -> Iterable[Sequence[Write]]:
    """Cut some writes into some of CHUNK_KEYS, and of `most` bytes unless of one write."""
    sizes = list(map(len, map(itemgetter(1), writes)))
    if sum(sizes) <= most:
        return chunks(writes)
    return [writes[start:end] for start, end in pairwise(_cuts(sizes, most))]


def _cuts(sizes: Iterable[int], most: int) -> Iterator[int]:
    """Yield where chunks of some sizes begin, and where the last one ends."""
    start = total = end = 0
    yield start
    for end, size in enumerate(sizes):
        total += size
        if end > start and (end - start == CHUNK_KEYS or total > most):
            yield end
            start, total = end, size
    yield end + 1
