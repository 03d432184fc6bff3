"""The database driver: one statement for a call, on SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorWrapper
from django.utils.connection import ConnectionDoesNotExist

from ...exceptions import InvalidStoreError
from ...expiry import Expiry, expires_at_micros, from_micros, now
from ..base import COUNTER, Place, Stored, Text, Write
from ..batches import batches
from .checks import check_server, check_settings, location
from .connection import Database, is_inside
from .statements import Statements, statements
from .statements.rows import chunks
from .transfer import DatabaseTransfer

R = TypeVar("R")
Params: TypeAlias = Mapping[str, Any] | Sequence[Any]

VENDORS = ("sqlite", "postgresql", "mysql")
PAGE_KEYS = 1000
PAGE_ITEMS = 100
LAST_KEY = "\U0010ffff" * 320
"""Sorts after every key, as none is as long."""


class DatabaseDriver(DatabaseTransfer):
    """Keeps entries in the table of the model Entry, in the database `using` of DATABASES.

    It joins the caller's transaction: a rollback undoes what it wrote. Reads go to the same
    database as writes. Outside a transaction, what lost by a deadlock, a serialization failure or a
    lock is tried again; inside one it raises ContentionError, and the transaction is marked for
    rollback. The clock is the application's.
    """

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        try:
            vendor = connections[using].vendor
        except (ConnectionDoesNotExist, TypeError) as error:
            raise InvalidStoreError(
                f"DATABASES has no {using!r}.",
                hint=f"Known are {', '.join(map(repr, connections))}.",
                id="django_persist.E006",
            ) from error
        if vendor not in VENDORS:
            raise InvalidStoreError(
                f"DATABASES[{using!r}] is of the kind {vendor!r}.",
                hint="The driver knows SQLite, PostgreSQL, MariaDB and MySQL.",
                id="django_persist.E006",
            )
        self.using = using
        self._database = Database(using)

    @cached_property
    def sql(self) -> Statements:
        return self._database.run(statements, writes=False)

    def in_transaction(self) -> bool:
        return is_inside(connections[self.using])

    def place(self) -> Place:
        return Place(("database", *location(connections[self.using])))

    def check(self) -> Iterable[CheckMessage]:
        return check_settings(connections[self.using])

    def check_databases(self, databases: Collection[str]) -> Iterable[CheckMessage]:
        return check_server(connections[self.using]) if self.using in databases else ()

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        # As `_written` has them, without the call.
        at = now()
        params = {
            "key": key,
            "value": value.decode(),
            "expires": expires_at_micros(expires, at),
            "now": at,
        }
        return self._write(self.sql.create, params, self.sql.created)

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        if keep:
            self._write(self.sql.set_keep, _written(key, value, expires), _nothing)
            return
        # Without the moment that is now: each parameter takes its time.
        params = {"key": key, "value": value.decode(), "expires": expires_at_micros(expires, now())}
        self._write(self.sql.set, params, _nothing)

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        # Outside a transaction every read is of the latest; FOR UPDATE needs one.
        statement = (
            self.sql.get_for_update if for_update and self.in_transaction() else self.sql.get
        )
        row = self._row(statement, key)
        if row is None or _expired(row[1]):
            return None
        return row[0]  # type: ignore[no-any-return]

    def get_item(self, key: str) -> Stored | None:
        row = self._row(self.sql.get, key)
        return None if row is None or _expired(row[1]) else _stored(row[0], row[1])

    def contains(self, key: str) -> bool:
        row = self._row(self.sql.contains, key)
        return row is not None and not _expired(row[0])

    def remove(self, key: str) -> bool:
        return self._write(self.sql.remove, {"key": key, "now": now()}, _changed)

    def touch(self, key: str, expires: Expiry) -> bool:
        moment = now()
        params = {"key": key, "expires": expires_at_micros(expires, moment), "now": moment}
        return self._write(self.sql.touch, params, _changed)

    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        sql, moment = self.sql, now()
        params = {
            "key": key,
            "expires": expires_at_micros(expires, moment),
            "now": moment,
            "start": str(by),
            "by": by,
            "low": COUNTER.start - min(by, 0),
            "high": COUNTER.stop - 1 - max(by, 0),
            **sql.incr_constants,
        }
        return self._write(sql.incr, params, lambda cursor: sql.counted(cursor, by))

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        statement = self.sql.replace_keep if keep else self.sql.replace
        params = {**_written(key, value, expires), "seen": seen}
        return self._write(statement, params, _changed)

    def remove_if(self, key: str, seen: Text) -> bool:
        params = {"key": key, "seen": seen, "now": now()}
        return self._write(self.sql.remove_if, params, _changed)

    # Many keys: written in their order, so that two calls never wait for each other in a circle.

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        found: list[tuple[str, Text]] = []
        for chunk in chunks(keys):
            params = {"keys": self.sql.keys_parameter(chunk), "now": now()}
            found += self._rows(self.sql.get_many, params)
        return found

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        sql = self.sql
        batched = sql.batches(writes, now())

        def work(cursor: CursorWrapper) -> None:
            for batch in batched:
                sql.set_many(cursor, batch, keep=keep)

        self._database.run(work, writes=True, atomic=len(batched) > 1)

    def remove_many(self, keys: Sequence[str]) -> int:
        sql, moment = self.sql, now()
        chunked = list(map(sql.keys_parameter, chunks(sorted(keys))))

        def work(cursor: CursorWrapper) -> int:
            removed = 0
            for chunk in chunked:
                cursor.execute(sql.remove_many, {"keys": chunk, "now": moment})
                removed += cursor.rowcount
            return removed

        return self._database.run(work, writes=True, atomic=len(chunked) > 1)

    # The whole store, a page at a time.

    def keys(self, prefix: str) -> Iterator[str]:
        pages = self._pages(self.sql.keys, self.sql.keys_next, prefix, PAGE_KEYS)
        return chain.from_iterable([key for (key,) in page] for page in pages)

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        pages = self._pages(self.sql.items, self.sql.items_next, prefix, PAGE_ITEMS)
        for key, value, expires_at in chain.from_iterable(pages):
            yield key, _stored(value, expires_at)

    def count(self, prefix: str) -> int:
        params = {"first": prefix, "end": prefix_end(prefix), "now": now()}
        return self._rows(self.sql.count, params)[0][0]  # type: ignore[no-any-return]

    def expired(self) -> int:
        return self._rows(self.sql.expired, {"now": now()})[0][0]  # type: ignore[no-any-return]

    def purge(self, batch_size: int) -> Iterator[int]:
        moment = now()
        reached = (COUNTER.start, "")

        def delete(limit: int) -> tuple[int, bool]:
            nonlocal reached
            work = partial(self.sql.purge_batch, now=moment, limit=limit, reached=reached)
            deleted, came_to = self._database.run(work, writes=True, atomic=True)
            reached = came_to or reached
            return deleted, came_to is not None

        # In the caller's transaction whoever waits does so until its end.
        exclusive = self.sql.excludes_writers and not self.in_transaction()
        return batches(batch_size, delete, exclusive=exclusive)

    # How a statement is run.

    def _row(self, statement: str, key: str) -> Any:
        def work(cursor: CursorWrapper) -> Any:
            cursor.execute(statement, {"key": key})
            # Of one row Django makes an iterator with less ado than a fetchone().
            rows = list(cursor)
            return rows[0] if rows else None

        return self._database.run(work, writes=False)

    def _rows(self, statement: str, params: Mapping[str, Any]) -> list[Any]:
        def work(cursor: CursorWrapper) -> list[Any]:
            cursor.execute(statement, params)
            # Of many rows the libraries make lists faster than we by iterating.
            return list(cursor.fetchall())

        return self._database.run(work, writes=False)

    def _pages(self, first: str, following: str, prefix: str, limit: int) -> Iterator[list[Any]]:
        params = {"first": prefix, "end": prefix_end(prefix), "limit": limit, "now": now()}
        rows = self._rows(first, params)
        yield rows
        while len(rows) == limit:
            params |= {"first": rows[-1][0], "now": now()}
            rows = self._rows(following, params)
            yield rows

    def _write(
        self,
        statement: str,
        params: dict[str, Any],
        outcome: Callable[[CursorWrapper], R],
    ) -> R:
        self.sql.check_packet(params.values())

        def work(cursor: CursorWrapper) -> R:
            cursor.execute(statement, params)
            return outcome(cursor)

        return self._database.run(work, writes=True)


def _written(key: str, value: bytes, expires: Expiry) -> dict[str, Any]:
    """Return the parameters of a write that happens now."""
    at = now()
    return {
        "key": key,
        "value": value.decode(),
        "expires": expires_at_micros(expires, at),
        "now": at,
    }


def _expired(expires_at: int | None) -> bool:
    return expires_at is not None and expires_at <= now()


def _stored(value: Text, expires_at: int | None) -> Stored:
    return Stored(value, None if expires_at is None else from_micros(expires_at))


def _changed(cursor: CursorWrapper) -> bool:
    return bool(cursor.rowcount > 0)


def _nothing(cursor: CursorWrapper) -> None:
    return None


def prefix_end(prefix: str) -> str:
    """Return the least text that sorts after everything that begins with `prefix`.

    Every database compares keys by code point: the prefix with its last one moved on is that text.
    """
    rest = prefix.rstrip("\U0010ffff")
    if not rest:
        return LAST_KEY
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(0xE000 if following == 0xD800 else following)
