"""How the database driver runs statements: retries, transactions, and what errors become."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...backoff import retries
from .errors import DatabaseContentionError, DatabaseUnavailableError, Outcome, classify

R = TypeVar("R")

TRIES = 100
SECONDS = 30.0
"""A call ends at whichever of the two limits comes first. The waits between 100 tries add up to
about two seconds: enough for the lock of another transaction if the server doesn't wait for it. A
server that does wait uses up the seconds."""


class Connection:
    """The connection of the calling thread to an alias of DATABASES.

    Outside the caller's transaction, what lost against other writers is retried. Both methods raise
    DatabaseContentionError and DatabaseUnavailableError; other errors stay what they are.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def execute(
        self,
        statement: str,
        params: Mapping[str, Any],
        fetch: Callable[[CursorWrapper], R],
        *,
        writes: bool,
    ) -> R:
        """Run one statement; return what `fetch` reads from its cursor."""
        connection = connections[self.using]
        inside = in_transaction(connection)
        started = time.monotonic()
        waits: Iterator[int] | None = None
        while True:
            opened = False
            try:
                with connection.cursor() as cursor:
                    opened = True
                    cursor.execute(statement, params)
                    return fetch(cursor)
            except Error as error:
                # Outside a transaction a statement commits itself.
                maybe_applied = opened and writes and not inside
                self._raise_unless_lost(
                    error, opened=opened, inside=inside, maybe_applied=maybe_applied
                )
                waits = waits or retries(TRIES, started + SECONDS)
                self._wait(waits, error)

    def run(self, work: Callable[[CursorWrapper], R], *, writes: bool, atomic: bool = False) -> R:
        """Return what `work` does with a cursor, in one transaction if `atomic`.

        `work` runs again from the start if it lost.
        """
        connection = connections[self.using]
        inside = in_transaction(connection)
        started = time.monotonic()
        waits: Iterator[int] | None = None
        while True:
            opened = maybe_applied = False
            try:
                if not atomic:
                    with connection.cursor() as cursor:
                        opened = True
                        # Outside a transaction a statement commits itself.
                        maybe_applied = writes and not inside
                        return work(cursor)
                with transaction.atomic(self.using, savepoint=False), connection.cursor() as cursor:
                    opened = True
                    result = work(cursor)
                    # Next is the COMMIT, which may take effect even if no answer arrives.
                    maybe_applied = writes and not inside
                return result
            except Error as error:
                self._raise_unless_lost(
                    error, opened=opened, inside=inside, maybe_applied=maybe_applied
                )
                waits = waits or retries(TRIES, started + SECONDS)
                self._wait(waits, error)

    def _raise_unless_lost(
        self, error: Error, *, opened: bool, inside: bool, maybe_applied: bool
    ) -> None:
        """Return if another try can win; otherwise raise what the caller should see.

        `opened` says whether there was a cursor, `inside` whether the caller has a transaction.
        """
        connection = connections[self.using]
        outcome = classify(connection.vendor, error)
        if opened and connection.connection is None:
            # The connection was lost before the end of the transaction, and no new one was found.
            outcome = Outcome.CUT_OFF
        if outcome is Outcome.OTHER:
            # Connecting fails for more reasons than a statement: a wrong password, an unknown host.
            if opened or not isinstance(error, OperationalError | InterfaceError):
                raise error
            outcome = Outcome.REFUSED
        if inside and connection.in_atomic_block:
            # MariaDB and SQLite may have rolled back what the block has done so far. Then the rest
            # of it must not be committed.
            connection.set_rollback(True)
        if outcome is Outcome.LOST:
            if inside:
                raise DatabaseContentionError(
                    "The call lost against another transaction: run this transaction again from "
                    "its start."
                ) from error
            return
        if outcome is Outcome.CUT_OFF and not inside:
            with suppress(Error):
                connection.close_if_unusable_or_obsolete()
        raise DatabaseUnavailableError(
            _unavailable_message(self.using, outcome, opened),
            maybe_applied=outcome is Outcome.CUT_OFF and maybe_applied,
        ) from error

    def _wait(self, waits: Iterator[int], error: Error) -> None:
        """Wait before the next try; raise DatabaseContentionError if there are no more."""
        if next(waits, None) is None:
            raise DatabaseContentionError(
                f"The call kept losing against other writers in the database {self.using!r}."
            ) from error


def _unavailable_message(using: str, outcome: Outcome, opened: bool) -> str:
    if not opened:
        return f"The database {using!r} could not be reached."
    if outcome is Outcome.REFUSED:
        return f"The database {using!r} refused the call."
    return f"The call to the database {using!r} was cut off."


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements are part of a transaction of the caller."""
    if connection.in_atomic_block:
        return True
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


# What `fetch` of Connection.execute can be.


def no_result(cursor: CursorWrapper) -> None:
    return None


def row_count(cursor: CursorWrapper) -> int:
    return int(cursor.rowcount)


def first_row(cursor: CursorWrapper) -> Any:
    """Return the only row, or None."""
    # For one row, list() is faster through Django's cursor than fetchone().
    rows = list(cursor)
    return rows[0] if rows else None


def all_rows(cursor: CursorWrapper) -> list[Any]:
    # fetchall() beats iterating for many rows.
    return list(cursor.fetchall())
