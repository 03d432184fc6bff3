"""How many keys, and how many bytes, go into one statement of the database driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .base import Write

CHUNK_KEYS = 1000
CHUNK_BYTES = 256 * 1024


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a sequence of keys into some of CHUNK_KEYS at most."""
    return (keys[start : start + CHUNK_KEYS] for start in range(0, len(keys), CHUNK_KEYS))


def chunks_of_bytes(writes: Sequence[Write], most: int) -> Iterator[Sequence[Write]]:
    """Cut a sequence into some of CHUNK_KEYS, and of `most` bytes unless of one write."""
    start, total = 0, 0
    for end, write in enumerate(writes):
        total += len(write.value)
        if end > start and (end - start == CHUNK_KEYS or total > most):
            yield writes[start:end]
            start, total = end, len(write.value)
    if start < len(writes):
        yield writes[start:]
