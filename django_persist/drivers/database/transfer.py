"""What moving entries from store to store asks of the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from django.db.backends.utils import CursorWrapper

from ...expiry import from_micros, now
from ..base import Driver, Stored, Write, distinct_expires_at
from .chunks import CHUNK_BYTES, chunks, chunks_of_bytes
from .connection import Database
from .statements import Statements
from .statements.rows import Batch


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
        sql, batched = self.sql, self._batches(writes)

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

    def _batches(self, writes: Sequence[Write]) -> list[Batch]:
        """Return what statements of many rows are to store now."""
        sql, moment = self.sql, now()
        ends = distinct_expires_at(writes, moment)
        if sql.excludes_writers:
            chunked: Iterable[Sequence[Write]] = chunks(writes)
        else:
            # In the order of the keys, so that two calls never wait for each other in a circle.
            chunked = chunks_of_bytes(sorted(writes, key=itemgetter(0)), self._chunk_bytes())
        batched = [Batch(chunk, ends, moment) for chunk in chunked]
        for batch in batched:
            sql.check_batch(batch)
        return batched

    def _chunk_bytes(self) -> int:
        packet = self.sql.packet
        return CHUNK_BYTES if packet is None else min(CHUNK_BYTES, packet // 4)
