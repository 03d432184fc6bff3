"""What moving entries from store to store asks of the database."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from ...expiry import from_micros, now
from ..base import Driver, Stored, Write
from .connection import Database
from .statements import Statements
from .statements.rows import chunks


class DatabaseTransfer(Driver):
    """Many entries with their expiries at once, and how much room all take."""

    _database: Database

    @property
    def sql(self) -> Statements:
        raise NotImplementedError

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        sql, moment = self.sql, now()

        def work(cursor: CursorWrapper) -> dict[str, Stored]:
            found = {}
            for chunk in chunks(sorted(keys)):
                params = {"keys": sql.keys_parameter(chunk), "now": moment}
                cursor.execute(sql.get_items, params)
                for key, value, expires_at in cursor.fetchall():
                    ends_at = None if expires_at is None else from_micros(expires_at)
                    found[key] = Stored(value, ends_at)
            return found

        return self._database.run(work, writes=False)

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        sql = self.sql
        batched = sql.batches(writes, now())

        def work(cursor: CursorWrapper) -> list[str]:
            return [key for batch in batched for key in sql.create_many(cursor, batch)]

        return self._database.run(work, writes=True, atomic=True)

    def size(self) -> int | None:
        statement = self.sql.size

        def work(cursor: CursorWrapper) -> int | None:
            assert statement is not None
            cursor.execute(statement)
            row = cursor.fetchone()
            return row and int(row[0])

        return None if statement is None else self._database.run(work, writes=False)
