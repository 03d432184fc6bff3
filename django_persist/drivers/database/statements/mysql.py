"""The statements of MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from django.db.backends.utils import CursorWrapper

from ....exceptions import ValueTooLargeError
from ....models import COLUMN_LENGTH
from ...base import Write
from ..connection import Connection
from ..direct import Executed
from .base import Purged, Statements
from .rows import Batch, execute_rows

STATEMENT_BYTES = 8192
"""More than a statement takes without its value."""

SMALL_BYTES = 400
"""Values of this size fit, with their statement, into the smallest max_allowed_packet, 1024."""

NEW_ROW_MARIADB = {"new": "", "new_v": "VALUES({v})", "new_e": "VALUES({e})"}
NEW_ROW_MYSQL = {
    # With names of their own, as the columns' names would be ambiguous.
    "new": "AS new_row (new_key, new_value, new_expires_at)",
    "new_v": "new_value",
    "new_e": "new_expires_at",
}
"""How a statement names the row that it would insert."""

KEY_BYTES = 2 * (4 * COLUMN_LENGTH + 4)
"""More than twice what a key takes in a statement."""


class MySQL(Statements):
    """The statements of MariaDB and MySQL.

    The row count of an upsert can't tell an insert from a duplicate, because Django sets
    CLIENT.FOUND_ROWS. LAST_INSERT_ID(expression) can: the client receives the expression as
    `lastrowid`, which is 0 for an insert. Assignments run from left to right, so the value comes
    before the expiry that it depends on.

    The slots `{new}`, `{new_v}` and `{new_e}` name the new row: MySQL gives it an alias, and warns
    of VALUES(), which is all that MariaDB knows.
    """

    excludes_writers = False
    creates_in_one_statement = False
    incr_returns_expiry = False

    get_for_update = "SELECT {text}, {e} FROM {t} WHERE {k} = %(key)s FOR UPDATE"

    create = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s) {new}
        ON DUPLICATE KEY UPDATE {v} = IF({e} <= %(now)s, {new_v}, {v}),
        {e} = IF(LAST_INSERT_ID(IF({e} <= %(now)s, 1, 2)) = 1, {new_e}, {e})
    """
    set = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s) {new}
        ON DUPLICATE KEY UPDATE {v} = {new_v}, {e} = {new_e}
    """
    set_keep = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(value)s, %(expires)s) {new}
        ON DUPLICATE KEY UPDATE {v} = {new_v}, {e} = IF({e} <= %(now)s, {new_e}, {e})
    """

    # If the sum can't be stored, LAST_INSERT_ID is 1 and nothing changes. The outer cast stops a
    # negative sum from being stored as an unsigned number.
    incr = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s) {new}
        ON DUPLICATE KEY UPDATE {v} = CASE
        WHEN {e} <= %(now)s THEN CAST(LAST_INSERT_ID(%(by)s) AS SIGNED)
        WHEN {v} REGEXP %(canonical)s AND CAST({v} AS DECIMAL(20)) BETWEEN %(low)s AND %(high)s
        THEN CAST(LAST_INSERT_ID(CAST({v} AS SIGNED) + %(by)s) AS SIGNED)
        ELSE IF(LAST_INSERT_ID(1) = 1, {v}, {v}) END,
        {e} = IF({e} <= %(now)s, {new_e}, {e})
    """
    incr_live = """
        UPDATE {t} SET {v} = CAST(LAST_INSERT_ID(CAST({v} AS SIGNED) + %(by)s) AS SIGNED)
        WHERE {k} = %(key)s AND {live} AND CASE
        WHEN {v} REGEXP %(canonical)s
        THEN CAST({v} AS DECIMAL(20)) BETWEEN %(low)s AND %(high)s ELSE FALSE END
    """
    # A parameter, because the SQL mode decides what a backslash means in a statement.
    incr_constants = {"canonical": r"^(0|-?[1-9][0-9]{0,18})\z"}

    # LAST_INSERT_ID is twice the time, and one more if it was moved; 1 if the value is not a time.
    advance = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES (%(key)s, %(start)s, %(expires)s) {new}
        ON DUPLICATE KEY UPDATE {v} = CASE
        WHEN {e} <= %(now)s THEN LAST_INSERT_ID(2 * %(expires)s + 1) DIV 2
        WHEN NOT {v} REGEXP %(time)s THEN IF(LAST_INSERT_ID(1) = 1, {v}, {v})
        WHEN CAST({v} AS SIGNED) <= %(latest)s
        THEN LAST_INSERT_ID(2 * (GREATEST(CAST({v} AS SIGNED), %(now)s) + %(by)s) + 1) DIV 2
        ELSE LAST_INSERT_ID(2 * CAST({v} AS SIGNED)) DIV 2 END,
        {e} = CASE WHEN {v} REGEXP %(time)s THEN CAST({v} AS SIGNED) ELSE {e} END
    """
    advance_constants = {"time": r"^(0|[1-9][0-9]{0,17})\z"}

    # `execute_rows` sends these, with positional parameters.
    set_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s {new}
        ON DUPLICATE KEY UPDATE {v} = {new_v}, {e} = {new_e}
    """
    set_rows_keep = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s {new}
        ON DUPLICATE KEY UPDATE {v} = {new_v}, {e} = IF({e} <= %s, {new_e}, {e})
    """
    # LAST_INSERT_ID is 2 if any row met a live entry. Its argument is no constant, because the
    # server would call it with one even if no row met an entry.
    create_rows = """
        INSERT INTO {t} ({k}, {v}, {e}) VALUES %(rows)s {new}
        ON DUPLICATE KEY UPDATE {v} = IF({e} <= %s, {new_v}, {v}),
        {e} = IF({e} <= %s, {new_e}, IF(LAST_INSERT_ID(IF({e} <= %s, 1, 2)) = 2, {e}, {e}))
    """

    get_many = "SELECT {k}, {text} FROM {t} WHERE {k} IN %(keys)s AND {live}"
    get_items = "SELECT {k}, {text}, {e} FROM {t} WHERE {k} IN %(keys)s AND {live}"
    live_keys = "SELECT {k} FROM {t} WHERE {k} IN %(keys)s AND {live}"
    live_keys_for_update = "SELECT {k} FROM {t} WHERE {k} IN %(keys)s AND {live} FOR UPDATE"
    remove_many = "DELETE FROM {t} WHERE {k} IN %(keys)s AND {live}"

    # Where few expiries differ, MySQL would read all keys by the expires_at index (a skip scan),
    # and sort them for each page.
    keys = """
        SELECT {k} FROM {t} FORCE INDEX (PRIMARY)
        WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    keys_next = """
        SELECT {k} FROM {t} FORCE INDEX (PRIMARY)
        WHERE {k} > %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    count = """
        SELECT COUNT(*) FROM {t} FORCE INDEX (PRIMARY)
        WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
    """
    items = """
        SELECT {k}, {text}, {e} FROM {t} WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """
    items_next = """
        SELECT {k}, {text}, {e} FROM {t} WHERE {k} > %(first)s AND {k} < %(end)s AND {live}
        ORDER BY {k} LIMIT %(limit)s
    """

    # A purge reads a page of keys without locks, then locks them in key order through the primary
    # key: locks taken through the expires_at index deadlock against writers.
    purge_page = """
        SELECT {k}, {e} FROM {t} WHERE {e} <= %(now)s
        AND ({e} > %(reached)s OR ({e} = %(reached)s AND {k} > %(reached_key)s))
        ORDER BY {e}, {k} LIMIT %(limit)s
    """
    purge_lock = """
        SELECT {k} FROM {t} FORCE INDEX (PRIMARY) WHERE {k} IN %(keys)s AND {e} <= %(now)s
        ORDER BY {k} FOR UPDATE {skip_locked}
    """
    purge = "DELETE FROM {t} WHERE {k} IN %(keys)s AND {e} <= %(now)s"

    size = """
        SELECT data_length + index_length FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name = REPLACE('{t}', '`', '')
    """

    def __init__(self, connection: Connection, cursor: CursorWrapper) -> None:
        can_skip = cursor.db.features.has_select_for_update_skip_locked
        self.slots = {
            **Statements.slots,
            **(NEW_ROW_MARIADB if cursor.db.mysql_is_mariadb else NEW_ROW_MYSQL),
            "skip_locked": "SKIP LOCKED" if can_skip else "",
        }
        super().__init__(connection, cursor)

    @cached_property
    def packet(self) -> int:
        """max_allowed_packet, asked for when the first large write needs it."""

        def read(cursor: CursorWrapper) -> int:
            # Not through Django's wrapper, which would log it as one of the caller's queries.
            with cursor.db.wrap_database_errors:
                cursor.cursor.execute("SELECT @@max_allowed_packet")
                [packet] = cursor.cursor.fetchone()
            return int(packet)

        return self.connection.run(read, writes=False)

    def batches(self, writes: Sequence[Write], now: int) -> list[Batch]:
        batches = super().batches(writes, now)
        for batch in batches:
            self.check_batch(batch)
        return batches

    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        if keep:
            execute_rows(cursor, self.set_rows_keep, batch.rows(), batch.now)
        else:
            execute_rows(cursor, self.set_rows, batch.rows())

    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        # The row count of an upsert doesn't tell which rows it created, only LAST_INSERT_ID whether
        # it created all of them. So the entries that exist are looked up before it. If another
        # writer has created one since, the upsert is taken back, and the next look finds that one.
        connection, rows = cursor.db, batch.rows()
        params = {"keys": self.keys_parameter([key for key, _, _ in rows]), "now": batch.now}
        statement = self.live_keys
        while True:
            cursor.execute(statement, params)
            existing = {key for (key,) in cursor.fetchall()}
            absent = [row for row in rows if row[0] not in existing]
            if not absent:
                break
            savepoint = connection.savepoint()
            execute_rows(cursor, self.create_rows, absent, *[batch.now] * 3)
            if cursor.lastrowid != 2:
                connection.savepoint_commit(savepoint)
                break
            connection.savepoint_rollback(savepoint)
            # Reads what a write would find, even if the transaction reads from an older snapshot.
            # Each turn ends the work of another writer, so this comes to an end.
            statement = self.live_keys_for_update
        return [key for key, _, _ in rows if key in existing]

    def keys_parameter(self, keys: Sequence[str]) -> Any:
        return tuple(keys)

    def created(self, executed: Executed) -> bool:
        return bool(executed.lastrowid != 2)

    def counted(self, executed: Executed, by: int) -> int | None:
        if executed.rowcount == 2:  # an update that changed something
            return _signed(executed.lastrowid)
        return None if executed.lastrowid else by

    def counted_live(self, executed: Executed) -> int | None:
        return _signed(executed.lastrowid) if executed.rowcount else None

    def advanced(self, executed: Executed, start: int) -> tuple[bool, int] | None:
        if not executed.lastrowid:
            return True, start
        time, moved = divmod(executed.lastrowid, 2)
        return (bool(moved), time) if time else None

    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        # The keys of the page are sent back as parameters.
        limit = min(limit, self.packet // KEY_BYTES)
        cursor.execute(
            self.purge_page,
            {"now": now, "limit": limit, "reached": reached[0], "reached_key": reached[1]},
        )
        page = cursor.fetchall()
        if not page:
            return Purged(0, None)
        last = (page[-1][1], page[-1][0]) if len(page) == limit else None
        cursor.execute(self.purge_lock, {"now": now, "keys": tuple(key for key, _ in page)})
        keys = tuple(key for (key,) in cursor.fetchall())
        if not keys:
            return Purged(0, last)
        cursor.execute(self.purge, {"now": now, "keys": keys})
        return Purged(cursor.rowcount, last)

    def check_packet(self, *texts: Any) -> None:
        # Past the limit the server drops the connection. The client escapes quotes and backslashes.
        size = sum(map(len, texts))
        if 8 * size < SMALL_BYTES or 8 * size < self.packet - STATEMENT_BYTES:
            return
        size = sum(len(text.encode()) + sum(map(text.count, "\"'\\")) for text in texts)
        if size > self.packet - STATEMENT_BYTES:
            raise ValueTooLargeError(
                f"The value takes {size} bytes in a statement, and the server accepts "
                f"{self.packet}: raise its max_allowed_packet."
            )

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueTooLargeError if the server can't accept a batch in one statement.

        Several values together take a quarter of the limit, and escaping at most doubles that.
        """
        number = len(batch.writes)
        if number == 1 or number * KEY_BYTES + STATEMENT_BYTES > self.packet // 2:
            self.check_packet(*chain.from_iterable(row[:2] for row in batch.rows()))


def _signed(last_insert_id: int) -> int:
    """Return the integer that a statement passed to LAST_INSERT_ID, which has no sign."""
    return last_insert_id - 2**64 if last_insert_id >= 2**63 else last_insert_id
