"""The database driver: one statement per call, on SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property, partial
from itertools import chain
from typing import Any

from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorWrapper
from django.utils.connection import ConnectionDoesNotExist

from ...exceptions import InvalidStoreError
from ...expiry import MICROSECOND, Expiry, expires_at_micros, from_micros, now
from ..base import COUNTER, LEAST, MOST, Advanced, Counted, Driver, Place, Stored, Text, Write
from ..batches import batches
from . import forks
from .checks import check_deployed, check_server, check_settings, location
from .connection import (
    RETRY_SECONDS,
    Connection,
    first_row,
    in_transaction,
    no_result,
    row_count,
)
from .statements import Statements, statements
from .statements.rows import chunks

VENDORS = ("sqlite", "postgresql", "mysql")
PAGE_KEYS = 1000
PAGE_ITEMS = 100
LAST_KEY = "\U0010ffff" * 320
"""Sorts after every key, because no key is as long."""


class DatabaseDriver(Driver):
    """Keeps entries in the table of the model Entry, in the database `using` of DATABASES.

    It joins the caller's transaction: a rollback undoes what it wrote. Reads go to the same
    database as writes. Outside a transaction, a call that lost by a deadlock, a serialization
    failure or a lock is retried; inside one it raises ContentionError, and the transaction is
    marked for rollback. The clock is the application's.

    `retry_seconds` bounds these retries. A database that has itself waited for a lock as long as
    its own settings say (`lock_timeout`, `innodb_lock_wait_timeout`, SQLite's `timeout`) is not
    asked again.

    Calls of one key go below Django's cursor, straight to the client library, where nobody can
    notice: no query log, no `execute_wrapper`, no tool that watches statements, no gevent. With
    `direct=False` every call goes through the cursor.
    """

    def __init__(
        self,
        using: str = DEFAULT_DB_ALIAS,
        *,
        retry_seconds: float = RETRY_SECONDS,
        direct: bool = True,
    ) -> None:
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
                f"DATABASES[{using!r}] has the vendor {vendor!r}.",
                hint="DatabaseDriver supports SQLite, PostgreSQL, MariaDB and MySQL.",
                id="django_persist.E006",
            )
        if isinstance(retry_seconds, bool) or not isinstance(retry_seconds, int | float):
            raise InvalidStoreError(
                f"retry_seconds must be a number, not {type(retry_seconds).__name__}.",
                id="django_persist.E004",
            )
        if not 0 <= retry_seconds < math.inf:
            raise InvalidStoreError(
                f"retry_seconds must not be negative or infinite: {retry_seconds}.",
                id="django_persist.E004",
            )
        if not isinstance(direct, bool):
            raise InvalidStoreError(
                f"direct must be True or False, not {type(direct).__name__}.",
                id="django_persist.E004",
            )
        self.using = using
        self._connection = Connection(using, retry_seconds, direct=direct)
        forks.watch(using)

    @cached_property
    def sql(self) -> Statements:
        return self._connection.run(partial(statements, self._connection), writes=False)

    def in_transaction(self) -> bool:
        return in_transaction(connections[self.using])

    def place(self) -> Place:
        return Place(("database", *location(connections[self.using])))

    def check(self) -> Iterable[CheckMessage]:
        return check_settings(connections[self.using])

    def check_databases(self, databases: Collection[str]) -> Iterable[CheckMessage]:
        return check_server(connections[self.using]) if self.using in databases else ()

    def check_deployment(self) -> Iterable[CheckMessage]:
        return check_deployed(self._connection)

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        sql, moment, text = self.sql, now(), value.decode()
        # Same as `_write_params`, inlined for speed.
        params = {
            "key": key,
            "value": text,
            "expires": expires_at_micros(expires, moment),
            "now": moment,
        }
        sql.check_packet(key, text)
        return self._connection.execute(sql.create, params, sql.created, writes=True)

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        sql, moment, text = self.sql, now(), value.decode()
        params: dict[str, Any] = {
            "key": key,
            "value": text,
            "expires": expires_at_micros(expires, moment),
        }
        if keep:
            params["now"] = moment  # only here, because each parameter takes time
        sql.check_packet(key, text)
        statement = sql.set_keep if keep else sql.set
        self._connection.execute(statement, params, no_result, writes=True)

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        # Outside a transaction every read returns the latest value, and FOR UPDATE is no use.
        locks = for_update and self.in_transaction()
        statement = self.sql.get_for_update if locks else self.sql.get
        row = self._connection.execute(statement, {"key": key}, first_row, writes=False)
        if row is None:
            return None
        text, expires_at = row
        # Same as `_expired`, inlined for speed.
        return None if expires_at is not None and expires_at <= now() else text

    def get_item(self, key: str) -> Stored | None:
        row = self._connection.execute(self.sql.get, {"key": key}, first_row, writes=False)
        return None if row is None or _expired(row[1]) else _stored(row[0], row[1])

    def contains(self, key: str) -> bool:
        row = self._connection.execute(self.sql.contains, {"key": key}, first_row, writes=False)
        return row is not None and not _expired(row[0])

    def remove(self, key: str) -> bool:
        params = {"key": key, "now": now()}
        return self._connection.execute(self.sql.remove, params, row_count, writes=True) > 0

    def touch(self, key: str, expires: Expiry) -> bool:
        moment = now()
        params = {"key": key, "expires": expires_at_micros(expires, moment), "now": moment}
        return self._connection.execute(self.sql.touch, params, row_count, writes=True) > 0

    def incr(
        self,
        key: str,
        by: int,
        expires: Expiry,
        *,
        at_least: int = LEAST,
        at_most: int = MOST,
    ) -> int | None:
        sql, moment = self.sql, now()
        low, high = max(LEAST, at_least - by), min(MOST, at_most - by)
        if low > high:
            low, high = 1, 0  # No number will do, and SQLite takes no larger ones.
        params = {"key": key, "now": moment, "by": by, "low": low, "high": high}
        params |= sql.incr_constants
        # Even if the counter has an expiry of its own, a moment that has passed is refused.
        expires_at = expires_at_micros(expires, moment)
        if at_least <= by <= at_most:
            params |= {"start": str(by), "expires": expires_at}
            return self._connection.execute(
                sql.incr, params, lambda executed: sql.counted(executed, by), writes=True
            )
        # A new counter would start outside its bounds.
        return self._connection.execute(sql.incr_live, params, sql.counted_live, writes=True)

    def incr_with_ttl(self, key: str, by: int, expires: Expiry) -> Counted | None:
        sql, moment = self.sql, now()
        if not sql.incr_returns_expiry:
            return super().incr_with_ttl(key, by, expires)
        params = {"key": key, "now": moment, "by": by, "start": str(by)}
        params |= {"low": LEAST - min(by, 0), "high": MOST - max(by, 0)}
        params["expires"] = expires_at_micros(expires, moment)
        row = self._connection.execute(sql.incr, params, first_row, writes=True)
        if row is None:
            return None
        return Counted(int(row[0]), None if row[1] is None else (row[1] - moment) * MICROSECOND)

    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        sql, moment = self.sql, now()
        step = by // MICROSECOND
        params = {
            "key": key,
            "start": str(moment + step),
            "expires": moment + step,
            "now": moment,
            "by": step,
            "latest": moment + at_most // MICROSECOND - step,
        }
        params |= sql.advance_constants
        result = self._connection.execute(
            sql.advance, params, lambda executed: sql.advanced(executed, moment + step), writes=True
        )
        return None if result is None else Advanced(result[0], (result[1] - moment) * MICROSECOND)

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        sql = self.sql
        statement = sql.replace_keep if keep else sql.replace
        params = {**_write_params(key, value, expires), "seen": seen}
        sql.check_packet(key, params["value"], seen)
        return self._connection.execute(statement, params, row_count, writes=True) > 0

    def remove_if(self, key: str, seen: Text) -> bool:
        sql = self.sql
        params = {"key": key, "seen": seen, "now": now()}
        sql.check_packet(key, seen)
        return self._connection.execute(sql.remove_if, params, row_count, writes=True) > 0

    # Many keys. They are written in order, so that two calls never wait for each other in a circle.

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        sql = self.sql
        found: list[tuple[str, Text]] = []
        for chunk in chunks(keys):
            params = {"keys": sql.keys_parameter(chunk), "now": now()}
            found += self._connection.rows(sql.get_many, params)
        return found

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        sql = self.sql
        batched = sql.batches(writes, now())

        def work(cursor: CursorWrapper) -> None:
            for batch in batched:
                sql.set_many(cursor, batch, keep=keep)

        self._connection.run(work, writes=True, atomic=len(batched) > 1)

    def remove_many(self, keys: Sequence[str]) -> int:
        sql, moment = self.sql, now()
        chunked = list(map(sql.keys_parameter, chunks(sorted(keys))))

        def work(cursor: CursorWrapper) -> int:
            removed = 0
            for chunk in chunked:
                cursor.execute(sql.remove_many, {"keys": chunk, "now": moment})
                removed += cursor.rowcount
            return removed

        return self._connection.run(work, writes=True, atomic=len(chunked) > 1)

    # Many entries with their expiries, on the way from one store to another.

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        sql, moment = self.sql, now()
        found: dict[str, Stored] = {}
        for chunk in chunks(sorted(keys)):
            params = {"keys": sql.keys_parameter(chunk), "now": moment}
            rows = self._connection.rows(sql.get_items, params)
            found |= {key: _stored(value, expires_at) for key, value, expires_at in rows}
        return found

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        sql = self.sql
        batched = sql.batches(writes, now())

        def work(cursor: CursorWrapper) -> list[str]:
            return [key for batch in batched for key in sql.create_many(cursor, batch)]

        atomic = len(batched) > 1 or not sql.creates_in_one_statement
        return self._connection.run(work, writes=True, atomic=atomic)

    # The whole store, one page at a time.

    def keys(self, prefix: str) -> Iterator[str]:
        pages = self._pages(self.sql.keys, self.sql.keys_next, prefix, PAGE_KEYS)
        return chain.from_iterable([key for (key,) in page] for page in pages)

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        pages = self._pages(self.sql.items, self.sql.items_next, prefix, PAGE_ITEMS)
        for key, value, expires_at in chain.from_iterable(pages):
            yield key, _stored(value, expires_at)

    def count(self, prefix: str) -> int:
        params = {"first": prefix, "end": prefix_end(prefix), "now": now()}
        [number] = self._connection.execute(self.sql.count, params, first_row, writes=False)
        return int(number)

    def expired(self) -> int:
        params = {"now": now()}
        [number] = self._connection.execute(self.sql.expired, params, first_row, writes=False)
        return int(number)

    def size(self) -> int | None:
        if self.sql.size is None:
            return None
        row = self._connection.execute(self.sql.size, {}, first_row, writes=False)
        return row and int(row[0])

    def purge(self, batch_size: int) -> Iterator[int]:
        moment = now()
        reached = (COUNTER.start, "")

        def delete(limit: int) -> tuple[int, bool]:
            nonlocal reached
            work = partial(self.sql.purge_batch, now=moment, limit=limit, reached=reached)
            purged = self._connection.run(work, writes=True, atomic=True)
            if purged.reached is not None:
                reached = purged.reached
            return purged.deleted, purged.reached is not None

        # Inside the caller's transaction, pausing between batches wouldn't let other writers in.
        exclusive = self.sql.excludes_writers and not self.in_transaction()
        return batches(batch_size, delete, exclusive=exclusive)

    def _pages(self, first: str, following: str, prefix: str, limit: int) -> Iterator[list[Any]]:
        params = {"first": prefix, "end": prefix_end(prefix), "limit": limit, "now": now()}
        rows = self._connection.rows(first, params)
        yield rows
        while len(rows) == limit:
            params |= {"first": rows[-1][0], "now": now()}
            rows = self._connection.rows(following, params)
            yield rows


def _write_params(key: str, value: bytes, expires: Expiry) -> dict[str, Any]:
    """Return the parameters of a write that happens now."""
    moment = now()
    return {
        "key": key,
        "value": value.decode(),
        "expires": expires_at_micros(expires, moment),
        "now": moment,
    }


def _expired(expires_at: int | None) -> bool:
    return expires_at is not None and expires_at <= now()


def _stored(value: Text, expires_at: int | None) -> Stored:
    return Stored(value, None if expires_at is None else from_micros(expires_at))


def prefix_end(prefix: str) -> str:
    """Return the smallest text that sorts after every text that begins with `prefix`.

    Every database compares keys by code point, so it is the prefix with its last code point raised
    by one.
    """
    rest = prefix.rstrip("\U0010ffff")
    if not rest:
        return LAST_KEY
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(0xE000 if following == 0xD800 else following)
