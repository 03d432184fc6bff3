"""What a statement that stores many rows takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from django.db.backends.utils import CursorWrapper

from ....expiry import Expiry
from ...base import Write

Row: TypeAlias = tuple[str, str, int | None]
"""A key, its value's text, and the microsecond at which the entry ends."""

TEXTS = 64
"""How many statements are kept as text, one for each number of rows: 30 KB for the longest."""


class Batch(NamedTuple):
    """Entries that one statement is to store now, and at which microsecond each expiry ends."""

    writes: Sequence[Write]
    ends: Mapping[Expiry, int | None]
    now: int

    def rows(self) -> list[Row]:
        ends = self.ends
        return [(key, value.decode(), ends[expires]) for key, value, expires in self.writes]


def run_with_places(cursor: CursorWrapper, statement: str, rows: Sequence[Row], *more: Any) -> None:
    """Run a statement with `%s` for all that the rows hold, by their places, and for `more`."""
    if hasattr(cursor.cursor, "convert_query"):
        # Django's cursor for SQLite would look for the places at each call. That takes it as long
        # as half of what SQLite does then.
        cursor.cursor.convert_query = _of_sqlite3
    cursor.execute(with_places(statement, len(rows)), [*chain.from_iterable(rows), *more])


@lru_cache(TEXTS)
def with_places(statement: str, rows: int) -> str:
    """Return a statement of many rows with three places for each of so many."""
    return statement.replace("%(rows)s", ", ".join(["(%s, %s, %s)"] * rows))


@lru_cache(TEXTS)
def _of_sqlite3(statement: str, *, param_names: None) -> str:
    """Return a statement with sqlite3's own placeholders: all of them are places."""
    return statement.replace("%s", "?")
