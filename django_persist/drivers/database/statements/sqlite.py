"""The statements of the database driver, as SQLite has them; the others say some otherwise.

`{t} {k} {v} {e}` are the quoted names of the table and its columns. Parameters are named alike
everywhere: `value` and `start` (a counter's first text) are text, `expires` and `now` microseconds
or NULL, `seen` what a read returned, `low` and `high` the integers to which `by` can be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from ....models import Entry
from .rows import Batch, run_with_places


class Purged(NamedTuple):
    """What one batch of a purge did, and how far it came; `reached` is None at the end."""

    deleted: int
    reached: tuple[int, str] | None


class Statements:
    """SQLite's statements; what the others say differently they override.

    An upsert whose WHERE is false changes no row and says so by its row count. So a duplicate is no
    failing statement, and leaves the caller's transaction usable.
    """

    # Said so that the index of the expiries can't serve it: where PostgreSQL has no statistics of
    # the table yet, it reads all of that index to find some keys that the other one leads to.
    _live = "({e} > %(now)s) IS NOT FALSE"

    # SQLite reads the value as a blob, so that one that isn't UTF-8 is read, and told as corrupt.
    get = "SELECT CAST({v} AS BLOB), {e} FROM {t} WHERE {k} = %(key)s"
    get_for_update = get
    contains = "SELECT {e} FROM {t} WHERE {k} = %(key)s"
    remove = "DELETE FROM {t} WHERE {k} = %(key)s AND " + _live
    remove_if = remove + " AND CAST({v} AS BLOB) = %(seen)s"
    touch = "UPDATE {t} SET {e} = %(expires)s WHERE {k} = %(key)s AND " + _live
    replace = (
        "UPDATE {t} SET {v} = %(value)s, {e} = %(expires)s"
        " WHERE {k} = %(key)s AND " + _live + " AND CAST({v} AS BLOB) = %(seen)s"
    )
    replace_keep = (
        "UPDATE {t} SET {v} = %(value)s"
        " WHERE {k} = %(key)s AND " + _live + " AND CAST({v} AS BLOB) = %(seen)s"
    )

    _insert = "INSERT INTO {t} ({k}, {v}, {e}) VALUES "
    _overwrite = " ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}"
    _overwrite_keep = (
        " ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v},"
        " {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END"
    )
    create = (
        _insert + "(%(key)s, %(value)s, %(expires)s)" + _overwrite + " WHERE {t}.{e} <= %(now)s"
    )
    set = _insert + "(%(key)s, %(value)s, %(expires)s)" + _overwrite
    set_keep = _insert + "(%(key)s, %(value)s, %(expires)s)" + _overwrite_keep
    # The parameters of each row by their place: SQLite searches names from the first one on.
    set_rows = _insert + "%(rows)s" + _overwrite
    set_rows_keep = _insert + "%(rows)s" + _overwrite_keep.replace("%(now)s", "%s")

    create_rows = _insert + "%(rows)s" + _overwrite + " WHERE {t}.{e} <= %s RETURNING {k}"

    # A cast that comes back as the same text was of a canonical integer of 64 bits: SQLite's takes
    # whatever number the text begins with, and saturates.
    incr = (
        "INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)"
        " ON CONFLICT ({k}) DO UPDATE SET"
        " {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}"
        " ELSE CAST(CAST({t}.{v} AS INTEGER) + %(by)s AS TEXT) END,"
        " {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END"
        " WHERE {t}.{e} <= %(now)s OR (CAST(CAST({t}.{v} AS INTEGER) AS TEXT) = {t}.{v}"
        " AND CAST({t}.{v} AS INTEGER) BETWEEN %(low)s AND %(high)s)"
        " RETURNING {v}"
    )

    _among = "{k} IN (SELECT value FROM json_each(%(keys)s)) AND " + _live
    # In the order of the keys, and without the sorting of an IN.
    get_many = (
        "SELECT {k}, CAST({v} AS BLOB) FROM (SELECT value AS asked FROM json_each(%(keys)s))"
        " CROSS JOIN {t} ON {k} = asked WHERE " + _live
    )
    get_items = "SELECT {k}, CAST({v} AS BLOB), {e} FROM {t} WHERE " + _among
    remove_many = "DELETE FROM {t} WHERE " + _among

    # Pages by key, each from where the last one ended: the primary key is their index.
    _range = " FROM {t} WHERE {k} >= %(first)s AND {k} < %(end)s AND " + _live
    _page = _range + " ORDER BY {k} LIMIT %(limit)s"
    _next_page = _page.replace(">=", ">", 1)
    keys = "SELECT {k}" + _page
    keys_next = "SELECT {k}" + _next_page
    items = "SELECT {k}, CAST({v} AS BLOB), {e}" + _page
    items_next = "SELECT {k}, CAST({v} AS BLOB), {e}" + _next_page
    count = "SELECT COUNT(*)" + _range

    expired = "SELECT COUNT(*) FROM {t} WHERE {e} <= %(now)s"
    purge = (
        "DELETE FROM {t} WHERE rowid IN"
        " (SELECT rowid FROM {t} WHERE {e} <= %(now)s ORDER BY {e} LIMIT %(limit)s)"
    )

    size: str | None = None
    """What asks the server how many bytes the table takes, where it answers at once."""

    def __init__(self, cursor: CursorWrapper) -> None:
        quote = cursor.db.ops.quote_name
        names = {
            "t": quote(Entry._meta.db_table),
            "k": quote("key"),
            "v": quote("value"),
            "e": quote("expires_at"),
        }
        for name in dir(type(self)):
            template = getattr(self, name)
            if isinstance(template, str) and not name.startswith("_"):
                setattr(self, name, template.format(**names))

    excludes_writers = True
    """Whether one writer at a time has the whole database."""

    packet: int | None = None
    """The most bytes that the server takes in one statement, where it has such a limit."""

    def check_packet(self, params: Iterable[Any]) -> None:
        """Raise ValueTooLargeError for parameters that the server can't take in one statement."""

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueTooLargeError for rows that the server can't take in one statement."""

    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        """Store a batch; with `keep` those that are live keep their expiry."""
        if keep:
            run_with_places(cursor, self.set_rows_keep, batch.rows(), batch.now)
        else:
            run_with_places(cursor, self.set_rows, batch.rows())

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        """Store what has no live entry under its key; return the keys of the rest."""
        run_with_places(cursor, self.create_rows, batch.rows(), batch.now)
        return left_out(cursor, batch)

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        """Return keys as the one parameter of `get_many` and `remove_many`."""
        return msgspec.json.encode(keys).decode()

    def created(self, cursor: CursorWrapper) -> bool:
        """Return whether the `create` that ran has stored."""
        return bool(cursor.rowcount)

    def counted(self, cursor: CursorWrapper, by: int) -> int | None:
        """Return the sum that the `incr` that ran has stored, or None if it refused."""
        rows = list(cursor)
        return int(rows[0][0]) if rows else None

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        """Delete up to `limit` entries that expired by `now`, from where the last batch came to."""
        cursor.execute(self.purge, {"now": now, "limit": limit})
        return Purged(cursor.rowcount, reached if cursor.rowcount == limit else None)


def left_out(cursor: CursorWrapper, batch: Batch) -> list[str]:
    """Return the keys of a batch that a statement's RETURNING has not told."""
    created = {key for (key,) in cursor.fetchall()}
    return [key for key, _, _ in batch.writes if key not in created]
