"""Many entries in one statement: how they are cut into batches, and how a batch is sent."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from django.db.backends.utils import CursorWrapper

from ....expiry import Expiry
from ...base import Write

T = TypeVar("T")

Row: TypeAlias = tuple[str, str, int | None]
"""A key, its value's text, and the microsecond at which the entry expires."""

CHUNK_KEYS = 1000
"""The most keys in one statement."""

CHUNK_BYTES = 256 * 1024
"""The most bytes of values in one statement, unless a single value is larger."""

CONVERT_QUERY = ("django.db.backends.sqlite3.base", "(self, query, *, param_names=None)")
"""The module and the signature of the method that `execute_rows` replaces."""

CACHED_STATEMENTS = 64
"""One per statement and number of rows; the longest takes 30 KB."""


class Batch(NamedTuple):
    """Entries that one statement stores."""

    writes: Sequence[Write]
    expires_at: Mapping[Expiry, int | None]
    """The microsecond that each expiry of `writes` stands for."""

    now: int

    def rows(self) -> list[Row]:
        expires_at = self.expires_at
        return [(key, value.decode(), expires_at[expires]) for key, value, expires in self.writes]


def chunks(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut keys or writes into chunks of at most CHUNK_KEYS."""
    return (entries[start : start + CHUNK_KEYS] for start in range(0, len(entries), CHUNK_KEYS))


def chunks_of_bytes(writes: Sequence[Write], max_bytes: int) -> Iterable[Sequence[Write]]:
    """Cut writes into chunks of at most CHUNK_KEYS, and at most `max_bytes` if it has several."""
    sizes = list(map(len, map(itemgetter(1), writes)))
    if sum(sizes) <= max_bytes:
        return chunks(writes)
    return [writes[start:end] for start, end in pairwise(_chunk_bounds(sizes, max_bytes))]


def _chunk_bounds(sizes: Iterable[int], max_bytes: int) -> Iterator[int]:
    """Yield the index at which each chunk begins, then the one at which the last chunk ends."""
    start = total = end = 0
    yield start
    for end, size in enumerate(sizes):
        total += size
        if end > start and (end - start == CHUNK_KEYS or total > max_bytes):
            yield end
            start, total = end, size
    yield end + 1


def execute_rows(cursor: CursorWrapper, statement: str, rows: Sequence[Row], *more: Any) -> None:
    """Run a statement whose `%(rows)s` stands for rows, and whose other parameters are `more`.

    All parameters are positional, because SQLite looks up a named one by searching all names.
    """
    if has_known_convert_query(cursor.cursor.__class__):
        # For each call, Django's SQLite cursor searches the statement for placeholders. For many
        # rows that takes half as long as SQLite itself does.
        cursor.cursor.convert_query = _to_question_marks
    cursor.execute(with_placeholders(statement, len(rows)), [*chain.from_iterable(rows), *more])


@lru_cache(CACHED_STATEMENTS)
def with_placeholders(statement: str, number: int) -> str:
    """Return a statement with the placeholders of that many rows."""
    return statement.replace("%(rows)s", ", ".join(["(%s, %s, %s)"] * number))


@lru_cache
def has_known_convert_query(cursor_class: type) -> bool:
    """Return whether a cursor class converts placeholders by the private method that we replace.

    Only Django's cursor for SQLite has it. If a version of Django changes it, the cursor converts
    the placeholders itself: that is slower, and works as well.
    """
    method = getattr(cursor_class, "convert_query", None)
    if method is None:
        return False
    return (method.__module__, str(inspect.signature(method))) == CONVERT_QUERY


@lru_cache(CACHED_STATEMENTS)
def _to_question_marks(query: str, *, param_names: None = None) -> str:
    """Return a statement with SQLite's own placeholders, instead of Django's `convert_query`."""
    return query.replace("%s", "?")
