"""How the database driver runs its statements: again, told, or in a transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..backoff import attempts
from .database_errors import (
    DatabaseContentionError,
    DatabaseUnavailableError,
    Meaning,
    meaning,
)

R = TypeVar("R")

TRIES = 100
SECONDS = 30.0
"""Both are bounds: the waits between so many tries add up to some two seconds, enough for a lock
that another transaction holds where the server itself waits for none; a server that waits takes the
seconds."""


class Database:
    """An alias of DATABASES, through the connection of the thread that calls."""

    def __init__(self, using: str) -> None:
        self.using = using

    def run(self, work: Callable[[CursorWrapper], R], *, writes: bool, atomic: bool = False) -> R:
        """Return what `work` does with a cursor: with `atomic` as one transaction.

        Outside the caller's transaction it is tried again where it lost against other writers.
        Raises DatabaseContentionError and DatabaseUnavailableError.
        """
        connection = self.connected()
        inside = is_inside(connection)
        for _ in attempts(TRIES, SECONDS):
            try:
                with (
                    transaction.atomic(self.using, savepoint=False) if atomic else nullcontext(),
                    connection.cursor() as cursor,
                ):
                    return work(cursor)
            except Error as error:
                self._judge(error, connection, writes=writes, inside=inside)
                lost = error
        raise DatabaseContentionError(
            f"The call kept losing against other writers in the database {self.using!r}."
        ) from lost

    def _judge(
        self, error: Error, connection: BaseDatabaseWrapper, *, writes: bool, inside: bool
    ) -> None:
        """Return where another try can win; raise what the caller is to know otherwise."""
        told = meaning(connection.vendor, error)
        if told is Meaning.OTHER:
            raise error
        if inside and connection.in_atomic_block:
            # MariaDB and SQLite may have rolled back by themselves what the block has done so far:
            # it must not commit the rest.
            connection.set_rollback(True)
        if told is Meaning.LOST:
            if inside:
                raise DatabaseContentionError(
                    "The call lost against another transaction; run this one again as a whole."
                ) from error
            return
        if told is Meaning.CUT_OFF and not inside:
            with suppress(Error):
                connection.close_if_unusable_or_obsolete()
        raise DatabaseUnavailableError(
            f"The database {self.using!r} "
            + ("refused the call." if told is Meaning.REFUSED else "was cut off."),
            maybe_applied=told is Meaning.CUT_OFF and writes and not inside,
        ) from error

    def connected(self) -> BaseDatabaseWrapper:
        """Return the thread's connection, open. Raises DatabaseUnavailableError."""
        connection = connections[self.using]
        if connection.connection is None:
            try:
                connection.ensure_connection()
            except (OperationalError, InterfaceError) as error:
                raise DatabaseUnavailableError(
                    f"The database {self.using!r} could not be reached."
                ) from error
        return connection


def is_inside(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements are part of a transaction of the caller's."""
    return bool(connection.in_atomic_block or not connection.get_autocommit())
