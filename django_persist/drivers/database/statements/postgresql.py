"""The statements of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper

from .base import Purged, Statements, keys_not_returned
from .rows import Batch

SEPARATOR = b"\x1f"
"""Stands between values: JSON holds no control characters (RFC 8259, section 7)."""


class PostgreSQL(Statements):
    excludes_writers = False

    get_for_update = "SELECT {text}, {e} FROM {t} WHERE {k} = %(key)s FOR UPDATE"

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
    incr = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET
        {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}
        ELSE ({t}.{v}::bigint + CAST(%(by)s AS bigint))::text END,
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END
        WHERE {t}.{e} <= %(now)s OR CASE
        WHEN {t}.{v} ~ '^(0|-?[1-9][0-9]{{0,18}})$'
        THEN {t}.{v}::numeric BETWEEN %(low)s AND %(high)s ELSE false END
        RETURNING {v}, {e}
    """
    incr_live = """
        UPDATE {t} SET {v} = ({v}::bigint + CAST(%(by)s AS bigint))::text
        WHERE {k} = %(key)s AND {live} AND CASE
        WHEN {v} ~ '^(0|-?[1-9][0-9]{{0,18}})$'
        THEN {v}::numeric BETWEEN %(low)s AND %(high)s ELSE false END
        RETURNING {v}
    """

    advance = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)
        ON CONFLICT ({k}) DO UPDATE SET
        {v} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{v}
        WHEN {t}.{v}::bigint <= %(latest)s
        THEN (GREATEST({t}.{v}::bigint, %(now)s) + CAST(%(by)s AS bigint))::text
        ELSE {t}.{v} END,
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e}
        WHEN {t}.{v}::bigint <= %(latest)s
        THEN GREATEST({t}.{v}::bigint, %(now)s) + CAST(%(by)s AS bigint)
        ELSE {t}.{v}::bigint + 1 END
        WHERE {t}.{e} <= %(now)s OR {t}.{v} ~ '^(0|[1-9][0-9]{{0,17}})$'
        RETURNING {v}, {e}
    """

    # All rows are three parameters: psycopg takes as long to quote six hundred of them as the
    # server takes to store the rows.
    set_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) SELECT * FROM ROWS FROM
        (unnest(%(keys)s::text[]), string_to_table(%(values)s::text, %(separator)s),
        unnest(%(expires_at)s::bigint[])) AS rows
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
    """
    set_rows_keep = """
        INSERT INTO {t} ({k}, {v}, {e}) SELECT * FROM ROWS FROM
        (unnest(%(keys)s::text[]), string_to_table(%(values)s::text, %(separator)s),
        unnest(%(expires_at)s::bigint[])) AS rows
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v},
        {e} = CASE WHEN {t}.{e} <= %(now)s THEN EXCLUDED.{e} ELSE {t}.{e} END
    """
    create_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) SELECT * FROM ROWS FROM
        (unnest(%(keys)s::text[]), string_to_table(%(values)s::text, %(separator)s),
        unnest(%(expires_at)s::bigint[])) AS rows
        ON CONFLICT ({k}) DO UPDATE SET {v} = EXCLUDED.{v}, {e} = EXCLUDED.{e}
        WHERE {t}.{e} <= %(now)s RETURNING {k}
    """

    get_many = "SELECT {k}, {text} FROM {t} WHERE {k} = ANY(%(keys)s::text[]) AND {live}"
    get_items = "SELECT {k}, {text}, {e} FROM {t} WHERE {k} = ANY(%(keys)s::text[]) AND {live}"
    # Locks rows in key order, as set_many does: otherwise the two deadlock.
    remove_many = """
        WITH doomed AS (
            SELECT {k} FROM {t} WHERE {k} = ANY(%(keys)s::text[]) AND {live}
            ORDER BY {k} FOR UPDATE
        )
        DELETE FROM {t} USING doomed WHERE {t}.{k} = doomed.{k}
    """

    # Bounds and limits are subqueries, for which the planner assumes fixed shares of the table.
    # Statistics that are missing or older than the rows may make it expect less than a page, and
    # sort all remaining rows for each page: listing 200,000 keys took half a minute, and now takes
    # half a second.
    keys = """
        SELECT {k} FROM {t}
        WHERE {k} >= (SELECT %(first)s) AND {k} < (SELECT %(end)s) AND {live}
        ORDER BY {k} LIMIT (SELECT %(limit)s)
    """
    keys_next = """
        SELECT {k} FROM {t}
        WHERE {k} > (SELECT %(first)s) AND {k} < (SELECT %(end)s) AND {live}
        ORDER BY {k} LIMIT (SELECT %(limit)s)
    """
    items = """
        SELECT {k}, {text}, {e} FROM {t}
        WHERE {k} >= (SELECT %(first)s) AND {k} < (SELECT %(end)s) AND {live}
        ORDER BY {k} LIMIT (SELECT %(limit)s)
    """
    items_next = """
        SELECT {k}, {text}, {e} FROM {t}
        WHERE {k} > (SELECT %(first)s) AND {k} < (SELECT %(end)s) AND {live}
        ORDER BY {k} LIMIT (SELECT %(limit)s)
    """

    # Deletes by row address, the fastest way. Starts at the last expiry, because the index keeps
    # the dead rows of earlier batches for as long as an old snapshot may see them. In a partitioned
    # table several rows share an address: the second condition on {e} spares those that are live.
    purge = """
        WITH page AS MATERIALIZED (
            SELECT ctid, {e} FROM {t}
            WHERE {e} <= (SELECT %(now)s) AND {e} >= (SELECT %(reached)s)
            ORDER BY {e} LIMIT (SELECT %(limit)s) FOR UPDATE SKIP LOCKED
        ),
        doomed AS (
            DELETE FROM {t} WHERE ctid = ANY(ARRAY(SELECT ctid FROM page)) AND {e} <= %(now)s
            RETURNING 1
        )
        SELECT (SELECT COUNT(*) FROM doomed), COUNT(*), MAX({e}) FROM page
    """

    size = "SELECT pg_total_relation_size('{t}'::regclass)"

    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        statement = self.set_rows_keep if keep else self.set_rows
        cursor.execute(statement, self.rows_parameters(batch))

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        cursor.execute(self.create_rows, self.rows_parameters(batch))
        return keys_not_returned(cursor, batch)

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return array(keys)

    def rows_parameters(self, batch: Batch) -> dict[str, Any]:
        """Return the rows of a batch as the parameters of a statement."""
        keys, values, expiries = zip(*batch.writes, strict=True)
        expires_at = [batch.expires_at[expires] for expires in expiries]
        return {
            "keys": array(keys),
            "values": SEPARATOR.join(values).decode(),
            "separator": SEPARATOR.decode(),
            "expires_at": f"{{{msgspec.json.encode(expires_at).decode()[1:-1]}}}",
            "now": batch.now,
        }

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        cursor.execute(self.purge, {"now": now, "limit": limit, "reached": reached[0]})
        [(deleted, found, last)] = cursor.fetchall()
        return Purged(deleted, (last, "") if found == limit else None)

    def check_packet(self, *texts: Any) -> None:
        """PostgreSQL has no limit below that of a value itself, 1 GB."""


def array(texts: Sequence[str]) -> str:
    """Return texts as an array literal (PostgreSQL: Array Input and Output Syntax).

    psycopg can do this too, but quotes each text by itself. For 200 keys that takes as long as all
    of the server's work.
    """
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') > 2 * (len(texts) - 1):
        joined = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{joined}"}}' if texts else "{}"
