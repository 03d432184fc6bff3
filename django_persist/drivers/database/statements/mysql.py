"""The statements of MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from django.db.backends.utils import CursorWrapper

from ....exceptions import ValueTooLargeError
from ....models import COLUMN_LENGTH
from .postgresql import PostgreSQL
from .rows import Batch, run_with_places
from .sqlite import Purged, Statements

STATEMENT_BYTES = 8192
"""More than a statement takes beside its value."""

KEY_BYTES = 2 * (4 * COLUMN_LENGTH + 4)
"""More than twice what a key takes in a statement."""


class MySQL(Statements):
    """MariaDB's statements, and MySQL's.

    An upsert's row count can't tell an insert from a duplicate (Django asks for FOUND_ROWS), so
    LAST_INSERT_ID(expression) tells: the client gets it as `lastrowid`, which is 0 for an insert.
    Assignments go from left to right, so the value comes before the expiry that it looks at.
    """

    excludes_writers = False
    packet: int

    get = "SELECT {v}, {e} FROM {t} WHERE {k} = %(key)s"
    get_for_update = get + " FOR UPDATE"
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
    get_items_for_update = get_items + " FOR UPDATE"
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

    def check_batch(self, batch: Batch) -> None:
        # Several have values of a quarter of the limit together, and escaping doubles that at most.
        number = len(batch.writes)
        if number == 1 or number * KEY_BYTES + STATEMENT_BYTES > self.packet // 2:
            self.check_packet(chain.from_iterable(batch.rows()))

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return tuple(keys)

    def created(self, cursor: CursorWrapper) -> bool:
        return bool(cursor.lastrowid != 2)

    def counted(self, cursor: CursorWrapper, by: int) -> int | None:
        told: int = cursor.lastrowid
        if cursor.rowcount == 2:  # an update that changed something
            return told - 2**64 if told >= 2**63 else told
        return None if told else by

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        # No count of an upsert says for which rows it did nothing. Those that are there are found
        # before it; those that another made just then after it, by what they hold.
        rows = batch.rows()
        keys = [key for key, _, _ in rows]
        cursor.execute(self.get_many, {"keys": self.keys_parameter(keys), "now": batch.now})
        there = {key for key, _ in cursor.fetchall()}
        absent = [row for row in rows if row[0] not in there]
        if not absent:
            return keys
        run_with_places(cursor, self.create_rows, absent, batch.now, batch.now)
        written = self.keys_parameter([key for key, _, _ in absent])
        cursor.execute(self.get_items_for_update, {"keys": written, "now": batch.now})
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
