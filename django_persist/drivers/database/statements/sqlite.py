"""The statements of SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper

from ...base import LAST_TIME, Write, distinct_expires_at
from .base import Purged, Statements, keys_not_returned
from .rows import Batch, chunks, execute_rows


class SQLite(Statements):
    excludes_writers = True

    # Read as a blob, a value that isn't UTF-8 can be read too, and is reported as corrupt.
    slots = {**Statements.slots, "text": "CAST({v} AS BLOB)"}

    # SQLite has one writer: an update never works on an old snapshot.
    get_for_update = Statements.get

    create = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
        WHERE {t}.{e} <= %(now)s
    """
    set = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
    """
    set_keep = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v},
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END
    """

    # SQLite's cast to an integer takes the number that a text begins with, and stops at the bounds
    # of 64 bits. Only a canonical integer of 64 bits comes back from it as the same text.
    incr = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET
        {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}
        ELSE CAST(CAST({t}.{v} AS INTEGER) + %(by)s AS TEXT) END,
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END
        WHERE {t}.{e} <= %(now)s OR (CAST(CAST({t}.{v} AS INTEGER) AS TEXT) = {t}.{v}
        AND CAST({t}.{v} AS INTEGER) BETWEEN %(low)s AND %(high)s)
        RETURNING {v}, {e}
    """
    incr_live = """
        UPDATE {t} SET {v} = CAST(CAST({v} AS INTEGER) + %(by)s AS TEXT)
        WHERE {k} = %(key)s AND {live} AND CAST(CAST({v} AS INTEGER) AS TEXT) = {v}
        AND CAST({v} AS INTEGER) BETWEEN %(low)s AND %(high)s
        RETURNING {v}
    """

    advance = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET
        {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}
        WHEN CAST({t}.{v} AS INTEGER) <= %(latest)s
        THEN CAST(MAX(CAST({t}.{v} AS INTEGER), %(now)s) + %(by)s AS TEXT) ELSE {t}.{v} END,
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e}
        WHEN CAST({t}.{v} AS INTEGER) <= %(latest)s
        THEN MAX(CAST({t}.{v} AS INTEGER), %(now)s) + %(by)s
        ELSE CAST({t}.{v} AS INTEGER) + 1 END
        WHERE {t}.{e} <= %(now)s OR (CAST(CAST({t}.{v} AS INTEGER) AS TEXT) = {t}.{v}
        AND CAST({t}.{v} AS INTEGER) BETWEEN 0 AND %(last)s)
        RETURNING {v}, {e}
    """
    advance_constants = {"last": LAST_TIME}

    # `execute_rows` sends these, with positional parameters.
    set_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
    """
    set_rows_keep = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v},
        {e} = CASE WHEN {t}.{e} <= %s THEN EXCLUDED.{e} ELSE {t}.{e} END
    """
    create_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
        WHERE {t}.{e} <= %s RETURNING {k}
    """

    # Reads in the order of the keys, and saves the sorting that IN does.
    get_many = """
        SELECT {k}, {text} FROM (SELECT value AS asked FROM json_each(%(keys)s))
        CROSS JOIN {t} ON {k} = asked WHERE {live}
    """
    get_items = """
        SELECT {k}, {text}, {e} FROM {t}
        WHERE {k} IN (SELECT value FROM json_each(%(keys)s)) AND {live}
    """
    remove_many = """
        DELETE FROM {t} WHERE {k} IN (SELECT value FROM json_each(%(keys)s)) AND {live}
    """

    keys = """
        SELECT {k} FROM {t} WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    keys_next = """
        SELECT {k} FROM {t} WHERE {k} > %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    items = """
        SELECT {k}, {text}, {e} FROM {t} WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    items_next = """
        SELECT {k}, {text}, {e} FROM {t} WHERE {k} > %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """

    purge = """
        DELETE FROM {t} WHERE rowid IN
        (SELECT rowid FROM {t} WHERE {e} <= %(now)s ORDER BY {e} LIMIT %(limit)s)
    """

    size = None

    def batches(self, writes: Sequence[Write], now: int) -> list[Batch]:
        # One writer at a time needs no order, and nothing is sent whose size could matter.
        expires_at = distinct_expires_at(writes, now)
        return [Batch(chunk, expires_at, now) for chunk in chunks(writes)]

    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        if keep:
            execute_rows(cursor, self.set_rows_keep, batch.rows(), batch.now)
        else:
            execute_rows(cursor, self.set_rows, batch.rows())

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        execute_rows(cursor, self.create_rows, batch.rows(), batch.now)
        return keys_not_returned(cursor, batch)

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return msgspec.json.encode(keys).decode()

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        cursor.execute(self.purge, {"now": now, "limit": limit})
        return Purged(cursor.rowcount, reached if cursor.rowcount == limit else None)

    def check_packet(self, *texts: Any) -> None:
        """SQLite has no limit: nothing is sent."""
