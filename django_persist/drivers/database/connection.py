"""How the database driver runs its statements: again, told, or in a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...backoff import retries
from .errors import (
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
        connection = connections[self.using]
        inside = is_inside(connection)
        deadline = time.monotonic() + SECONDS
        again: Iterator[int] | None = None
        while True:
            reached = may_stand = False
            try:
                if not atomic:
                    with connection.cursor() as cursor:
                        reached = True
                        # A statement by itself commits itself.
                        may_stand = writes and not inside
                        return work(cursor)
                with transaction.atomic(self.using, savepoint=False), connection.cursor() as cursor:
                    reached = True
                    result = work(cursor)
                    # What waits for the end of a transaction begins to be done now.
                    may_stand = writes and not inside
                return result
            except Error as error:
                self._judge(error, inside=inside, reached=reached, may_stand=may_stand)
                again = again or retries(TRIES, deadline)
                if next(again, None) is None:
                    raise DatabaseContentionError(
                        "The call kept losing against other writers in the database "
                        f"{self.using!r}."
                    ) from error

    def _judge(self, error: Error, *, inside: bool, reached: bool, may_stand: bool) -> None:
        """Return where another try can win; raise what the caller is to know otherwise."""
        connection = connections[self.using]
        told = meaning(connection.vendor, error)
        if reached and connection.connection is None:
            # A transaction was ended on a line that was gone, and there was no other to be had.
            told = Meaning.CUT_OFF
        if told is Meaning.OTHER:
            # Connecting fails in more ways than a statement does: a wrong password, no such host.
            if reached or not isinstance(error, OperationalError | InterfaceError):
                raise error
            told = Meaning.REFUSED
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
            f"The database {self.using!r} {_what_happened(told, reached)}.",
            maybe_applied=told is Meaning.CUT_OFF and may_stand,
        ) from error


def _what_happened(told: Meaning, reached: bool) -> str:
    if not reached:
        return "could not be reached"
    return "refused the call" if told is Meaning.REFUSED else "was cut off"


def is_inside(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements are part of a transaction of the caller's."""
    if connection.in_atomic_block:
        return True
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit
