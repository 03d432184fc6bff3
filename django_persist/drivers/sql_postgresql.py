"""PostgreSQL's statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.utils import CursorWrapper

from .sql_sqlite import Purged, Statements


class PostgreSQL(Statements):
    excludes_writers = False

    get = "SELECT {v}, {e} FROM {t} WHERE {k} = %(key)s"
    get_latest = get + " FOR UPDATE"
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
    _among = "{k} = ANY(%(keys)s) AND " + Statements._live
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
        return list(keys)

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        cursor.execute(self.purge, {"now": now, "limit": limit, "reached": reached[0]})
        [(deleted, found, last)] = cursor.fetchall()
        return Purged(deleted, (last, "") if found == limit else None)
