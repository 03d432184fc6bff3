"""PostgreSQL's statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper

from .rows import Batch
from .sqlite import Purged, Statements, left_out

SEPARATOR = b"\x1f"
"""Stands between values: a control character is nowhere in JSON (RFC 8259, section 7)."""


class PostgreSQL(Statements):
    excludes_writers = False

    get = "SELECT {v}, {e} FROM {t} WHERE {k} = %(key)s"
    get_for_update = get + " FOR UPDATE"
    remove_if = Statements.remove + " AND {v} = %(seen)s"
    replace = Statements.replace.replace("CAST({v} AS BLOB)", "{v}")
    replace_keep = Statements.replace_keep.replace("CAST({v} AS BLOB)", "{v}")
    incr = (
        "INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)"
        " ON CONFLICT ({k}) DO UPDATE SET"
        " {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}"
        " ELSE ({t}.{v}::bigint + CAST(%(by)s AS bigint))::text END,"
        " {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END"
        " WHERE {t}.{e} <= %(now)s OR CASE"
        " WHEN {t}.{v} ~ '^(0|-?[1-9][0-9]{{0,18}})$'"
        " THEN {t}.{v}::numeric BETWEEN %(low)s AND %(high)s ELSE false END"
        " RETURNING {v}"
    )
    # Three texts for all rows: psycopg takes as long to quote six hundred as the server to store.
    _rows = (
        "INSERT INTO {t} ({k}, {v}, {e}) SELECT * FROM ROWS FROM"
        " (unnest(%(keys)s::text[]), string_to_table(%(values)s::text, %(separator)s),"
        " unnest(%(ends)s::bigint[])) AS rows"
    )
    set_rows = _rows + Statements._overwrite
    set_rows_keep = _rows + Statements._overwrite_keep
    create_rows = _rows + Statements._overwrite + " WHERE {t}.{e} <= %(now)s RETURNING {k}"
    _among = "{k} = ANY(%(keys)s::text[]) AND " + Statements._live
    get_many = "SELECT {k}, {v} FROM {t} WHERE " + _among
    get_items = "SELECT {k}, {v}, {e} FROM {t} WHERE " + _among
    # Rows are locked in the order of their keys, as set_many locks them: else the two deadlock.
    remove_many = (
        "WITH doomed AS (SELECT {k} FROM {t} WHERE " + _among + " ORDER BY {k} FOR UPDATE)"
        " DELETE FROM {t} USING doomed WHERE {t}.{k} = doomed.{k}"
    )
    # Bounds and limits are subqueries, of which the planner takes fixed shares. By statistics that
    # are missing, or older than the rows, it may expect less than a page, and then sorts all that
    # is left for each: a listing of 200,000 took half a minute, now half a second.
    _page = (
        " FROM {t} WHERE {k} >= (SELECT %(first)s) AND {k} < (SELECT %(end)s) AND "
        + Statements._live
        + " ORDER BY {k} LIMIT (SELECT %(limit)s)"
    )
    _next_page = _page.replace(">=", ">", 1)
    keys = "SELECT {k}" + _page
    keys_next = "SELECT {k}" + _next_page
    items = "SELECT {k}, {v}, {e}" + _page
    items_next = "SELECT {k}, {v}, {e}" + _next_page
    size = "SELECT pg_total_relation_size('{t}'::regclass)"
    # By row address, the fastest way; from the last expiry on, as the dead rows of earlier batches
    # stay in the index for as long as some old snapshot may see them. In a partitioned table
    # several rows have one address: those that have expired go too, and the others stay.
    purge = (
        "WITH page AS MATERIALIZED ("
        "SELECT ctid, {e} FROM {t} WHERE {e} <= (SELECT %(now)s) AND {e} >= (SELECT %(reached)s)"
        " ORDER BY {e} LIMIT (SELECT %(limit)s) FOR UPDATE SKIP LOCKED),"
        " doomed AS (DELETE FROM {t} WHERE ctid = ANY(ARRAY(SELECT ctid FROM page))"
        " AND {e} <= %(now)s RETURNING 1)"
        " SELECT (SELECT COUNT(*) FROM doomed), COUNT(*), MAX({e}) FROM page"
    )

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return array(keys)

    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        cursor.execute(self.set_rows_keep if keep else self.set_rows, self.rows_parameters(batch))

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        cursor.execute(self.create_rows, self.rows_parameters(batch))
        return left_out(cursor, batch)

    def rows_parameters(self, batch: Batch) -> dict[str, Any]:
        keys, values, expiries = zip(*batch.writes, strict=True)
        ends = [batch.ends[expires] for expires in expiries]
        return {
            "keys": array(keys),
            "values": SEPARATOR.join(values).decode(),
            "separator": SEPARATOR.decode(),
            "ends": f"{{{msgspec.json.encode(ends).decode()[1:-1]}}}",
            "now": batch.now,
        }

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        cursor.execute(self.purge, {"now": now, "limit": limit, "reached": reached[0]})
        [(deleted, found, last)] = cursor.fetchall()
        return Purged(deleted, (last, "") if found == limit else None)


def array(texts: Sequence[str]) -> str:
    """Return texts as the literal of an array (PostgreSQL: Array Input and Output Syntax).

    psycopg makes one too, but quotes each text by itself: of 200 keys that takes it as long as the
    server takes for all the rest.
    """
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') > 2 * (len(texts) - 1):
        joined = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{joined}"}}' if texts else "{}"
