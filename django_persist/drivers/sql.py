"""The statements of the database driver, whole and in one place, a class for each kind of server.

`{t} {k} {v} {e}` are the quoted names of the table and its columns. Parameters are named alike
everywhere: `value` and `start` (a counter's first text) are text, `expires` and `now` microseconds
or NULL, `seen` what a read returned, `low` and `high` the integers to which `by` can be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import msgspec
from django.db.backends.utils import CursorWrapper

from ..exceptions import ValueTooLargeError
from ..models import COLUMN_LENGTH, Entry

CANONICAL = r"^(0|-?[1-9][0-9]{0,18})\z"
"""Integers as they are written by whoever counts; as a parameter, for MariaDB and MySQL."""

STATEMENT_BYTES = 8192
"""More than a statement takes beside its value."""

KEY_BYTES = 2 * (4 * COLUMN_LENGTH + 4)
"""More than twice what a key takes in a statement."""


Row: TypeAlias = tuple[str, str, int | None]
"""A key, its value's text, and the microsecond at which the entry ends."""


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
    get_latest = get
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
    get_many = "SELECT {k}, CAST({v} AS BLOB) FROM {t} WHERE " + _among
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

    def set_many(self, number: int, *, keep: bool = False) -> str:
        """Return the statement that stores so many rows.

        It takes key, value and expiry of each, and with `keep` the moment now, by their place.
        """
        return _with_rows(self.set_rows_keep if keep else self.set_rows, number)

    def create_many(self, cursor: CursorWrapper, rows: Sequence[Row], now: int) -> list[str]:
        """Store those rows whose keys have no live entry; return the keys of the others."""
        statement = _with_rows(self.create_rows, len(rows))
        cursor.execute(statement, [*chain.from_iterable(rows), now])
        created = {key for (key,) in cursor.fetchall()}
        return [key for key, _, _ in rows if key not in created]

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


class MySQL(Statements):
    """MariaDB's statements, and MySQL's.

    An upsert's row count can't tell an insert from a duplicate (Django asks for FOUND_ROWS), so
    LAST_INSERT_ID(expression) tells: the client gets it as `lastrowid`, which is 0 for an insert.
    Assignments go from left to right, so the value comes before the expiry that it looks at.
    """

    excludes_writers = False
    packet: int

    get = "SELECT {v}, {e} FROM {t} WHERE {k} = %(key)s"
    get_latest = get + " FOR UPDATE"
    remove_if = PostgreSQL.remove_if
    replace = PostgreSQL.replace
    replace_keep = PostgreSQL.replace_keep

    _overwrite = " ON DUPLICATE KEY UPDATE {v} = VALUES({v}), {e} = VALUES({e})"
    _overwrite_keep = (
        " ON DUPLICATE KEY UPDATE {v} = VALUES({v}), {e} = IF({e} <= %(now)s, VALUES({e}), {e})"
    )
    create = (
        "INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s)"
        " ON DUPLICATE KEY UPDATE {v} = IF({e} <= %(now)s, VALUES({v}), {v}),"
        " {e} = IF(LAST_INSERT_ID(IF({e} <= %(now)s, 1, 2)) = 1, VALUES({e}), {e})"
    )
    set = Statements._insert + "(%(key)s, %(value)s, %(expires)s)" + _overwrite
    set_keep = Statements._insert + "(%(key)s, %(value)s, %(expires)s)" + _overwrite_keep
    set_rows = Statements._insert + "%(rows)s" + _overwrite
    set_rows_keep = Statements._insert + "%(rows)s" + _overwrite_keep.replace("%(now)s", "%s")
    create_rows = (
        Statements._insert + "%(rows)s ON DUPLICATE KEY UPDATE"
        " {v} = IF({e} <= %s, VALUES({v}), {v}), {e} = IF({e} <= %s, VALUES({e}), {e})"
    )
    # Refused, it says 1 and changes nothing. The outer cast keeps a negative sum from being stored
    # as an unsigned number.
    incr = (
        "INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s)"
        " ON DUPLICATE KEY UPDATE {v} = CASE"
        " WHEN {e} <= %(now)s THEN CAST(LAST_INSERT_ID(%(by)s) AS SIGNED)"
        " WHEN {v} REGEXP %(canonical)s AND CAST({v} AS DECIMAL(20)) BETWEEN %(low)s AND %(high)s"
        " THEN CAST(LAST_INSERT_ID(CAST({v} AS SIGNED) + %(by)s) AS SIGNED)"
        " ELSE IF(LAST_INSERT_ID(1) = 1, {v}, {v}) END,"
        " {e} = IF({e} <= %(now)s, VALUES({e}), {e})"
    )
    _among = "{k} IN %(keys)s AND " + Statements._live
    get_many = "SELECT {k}, {v} FROM {t} WHERE " + _among
    get_items = "SELECT {k}, {v}, {e} FROM {t} WHERE " + _among
    get_items_latest = get_items + " FOR UPDATE"
    remove_many = "DELETE FROM {t} WHERE " + _among
    items = "SELECT {k}, {v}, {e}" + Statements._page
    items_next = "SELECT {k}, {v}, {e}" + Statements._next_page
    size = (
        "SELECT data_length + index_length FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = REPLACE('{t}', '`', '')"
    )
    # Rows are chosen without locks, then locked in the order of their keys through the primary key:
    # locks taken through the index of expires_at deadlock against writers.
    purge_page = (
        "SELECT {k}, {e} FROM {t} WHERE {e} <= %(now)s"
        " AND ({e} > %(reached)s OR ({e} = %(reached)s AND {k} > %(reached_key)s))"
        " ORDER BY {e}, {k} LIMIT %(limit)s"
    )
    purge_lock = (
        "SELECT {k} FROM {t} FORCE INDEX (PRIMARY) WHERE {k} IN %(keys)s AND {e} <= %(now)s"
        " ORDER BY {k} FOR UPDATE SKIP LOCKED"
    )
    purge = "DELETE FROM {t} WHERE {k} IN %(keys)s AND {e} <= %(now)s"

    def __init__(self, cursor: CursorWrapper) -> None:
        super().__init__(cursor)
        if not cursor.db.features.has_select_for_update_skip_locked:
            self.purge_lock = self.purge_lock.replace(" SKIP LOCKED", "")
        cursor.execute("SELECT @@max_allowed_packet")
        [self.packet] = cursor.fetchone()

    def check_packet(self, params: Iterable[Any]) -> None:
        # Past the limit the server drops the connection. The client escapes quotes and backslashes.
        texts = [text for text in params if isinstance(text, str)]
        size = sum(map(len, texts))
        if 8 * size < self.packet - STATEMENT_BYTES:
            return
        size = sum(len(text.encode()) + sum(map(text.count, "\"'\\")) for text in texts)
        if size > self.packet - STATEMENT_BYTES:
            raise ValueTooLargeError(
                f"The value takes {size} bytes in a statement; the server takes {self.packet}: "
                "raise its max_allowed_packet."
            )

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return tuple(keys)

    def created(self, cursor: CursorWrapper) -> bool:
        return bool(cursor.lastrowid != 2)

    def counted(self, cursor: CursorWrapper, by: int) -> int | None:
        told: int = cursor.lastrowid
        if cursor.rowcount == 2:  # an update that changed something
            return told - 2**64 if told >= 2**63 else told
        return None if told else by

    def create_many(self, cursor: CursorWrapper, rows: Sequence[Row], now: int) -> list[str]:
        # No count of an upsert says for which rows it did nothing. Those that are there are found
        # before it; those that another made just then after it, by what they hold.
        keys = [key for key, _, _ in rows]
        cursor.execute(self.get_many, {"keys": self.keys_parameter(keys), "now": now})
        there = {key for key, _ in cursor.fetchall()}
        absent = [row for row in rows if row[0] not in there]
        if not absent:
            return keys
        statement = _with_rows(self.create_rows, len(absent))
        cursor.execute(statement, [*chain.from_iterable(absent), now, now])
        written = self.keys_parameter([key for key, _, _ in absent])
        cursor.execute(self.get_items_latest, {"keys": written, "now": now})
        created = set(cursor.fetchall()).intersection(absent)
        return [row[0] for row in rows if row not in created]

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        # The keys come back as parameters.
        limit = min(limit, self.packet // KEY_BYTES)
        cursor.execute(
            self.purge_page,
            {"now": now, "limit": limit, "reached": reached[0], "reached_key": reached[1]},
        )
        page = cursor.fetchall()
        if not page:
            return Purged(0, None)
        came_to = (page[-1][1], page[-1][0]) if len(page) == limit else None
        cursor.execute(self.purge_lock, {"now": now, "keys": tuple(key for key, _ in page)})
        keys = tuple(key for (key,) in cursor.fetchall())
        if not keys:
            return Purged(0, came_to)
        cursor.execute(self.purge, {"now": now, "keys": keys})
        return Purged(cursor.rowcount, came_to)


def _with_rows(statement: str, number: int) -> str:
    return statement.replace("%(rows)s", ", ".join(["(%s, %s, %s)"] * number))


def statements(cursor: CursorWrapper) -> Statements:
    """Return the statements for the server at the other end of a cursor."""
    kinds = {"sqlite": Statements, "postgresql": PostgreSQL, "mysql": MySQL}
    return kinds[cursor.db.vendor](cursor)
