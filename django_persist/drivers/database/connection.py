"""How the database driver runs statements: retries, transactions, and what errors become."""

from __future__ import annotations

import math
import select
import sys
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import local
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...backoff import retries
from ...interruptions import is_from_outside
from .direct import DirectWay, Executed
from .errors import (
    DatabaseContentionError,
    DatabaseUnavailableError,
    Outcome,
    classify,
    is_login_refused,
    raise_without_values,
)

R = TypeVar("R")

RETRY_SECONDS = 10.0
"""Less than web servers usually let a worker live."""

TRIES = 100
"""The waits between 100 tries add up to about two seconds: enough for the lock of another
transaction if the server doesn't wait for it."""

IDLE_SECONDS = 0.1
"""Only a connection that was idle for longer is checked before use. The shortest timeout that a
server can have for idle connections is one second, on MariaDB. A check takes two microseconds."""

ENDED = getattr(select, "POLLRDHUP", select.POLLIN) if hasattr(select, "poll") else 0
"""What poll reports of a socket that the other side has closed."""

POOLER = (Outcome.NO_TRANSACTIONS, Outcome.NO_SESSION)
"""A pooler refused the call and closed the connection: the server never saw it."""

ABANDONED = (Outcome.IDLE, Outcome.READ_ONLY, *POOLER)
"""After these, the connection is of no more use."""

SQLITE_TIMEOUT = 5.0
"""The default of sqlite3.connect, in seconds."""

CLOCK_SECONDS = 0.05
"""SQLite's wait can be this much shorter than its timeout: it sleeps in steps."""

_storage = getattr(connections._connections, "_storage", None)  # type: ignore[attr-defined]
WRAPPERS = _storage if type(_storage) is local else local()
"""Where `connections` keeps what a thread without an event loop finds there."""


class _Use:
    """What a thread remembers of its connection."""

    __slots__ = ("used_at", "way")

    def __init__(self) -> None:
        # Nobody knows how long the ORM's connection was idle before the first call.
        self.used_at = -math.inf
        self.way = DirectWay()


class _Uses(local):
    """One object for each thread, as each attribute of a `local` takes long to look up."""

    def __init__(self) -> None:
        self.of_thread = _Use()


class Connection:
    """The connection of the calling thread to an alias of DATABASES.

    Outside the caller's transaction, what lost against other writers is retried for up to
    `retry_seconds`. All methods raise DatabaseContentionError and DatabaseUnavailableError; other
    errors stay what they are.

    What else ends a call outside a transaction, such as a signal's exception, closes the
    connection: a transaction of ours may still be open on it, or an answer may be under way.
    """

    def __init__(
        self, using: str, retry_seconds: float = RETRY_SECONDS, *, direct: bool = True
    ) -> None:
        self.using = using
        self.retry_seconds = retry_seconds
        self._uses = _Uses()
        self._direct = direct

    def execute(
        self,
        statement: str,
        params: Mapping[str, Any],
        fetch: Callable[[Executed], R],
        *,
        writes: bool,
    ) -> R:
        """Run a statement that returns a row or less; return what `fetch` reads of it.

        It goes below Django's cursor where nobody can notice (see `direct`). What it raises, and
        what that does to the connection, is the same on both ways.
        """
        connection, inside, way, started = self._start()
        attempted = started
        handled = sys.exception()
        waits: Iterator[int] | None = None
        direct = way.to(connection, inside) if self._direct else None
        while True:
            opened = direct is not None
            executed: Executed | None = None
            try:
                if direct is not None:
                    try:
                        executed = direct.execute(statement, params)
                        return fetch(executed)
                    except connection.Database.Error:
                        with connection.wrap_database_errors:
                            raise
                with connection.cursor() as cursor:
                    opened = True
                    cursor.execute(statement, params)
                    return fetch(cursor)
            except Error as error:
                # Outside a transaction a statement commits itself.
                maybe_applied = opened and writes and not inside
                self._raise_unless_lost(
                    error,
                    handled,
                    attempted,
                    is_first=waits is None,
                    opened=opened,
                    inside=inside,
                    maybe_applied=maybe_applied,
                )
                waits = waits or retries(TRIES, started + self.retry_seconds)
                self._wait(waits, error)
                attempted = time.monotonic()
                direct = None
            except BaseException:
                if direct is not None and executed is not None:
                    direct.release(executed)  # The traceback keeps it alive.
                if not inside:
                    _abandon(connection)
                raise

    def rows(self, statement: str, params: Mapping[str, Any]) -> list[Any]:
        """Run a statement that reads; return all its rows."""

        def work(cursor: CursorWrapper) -> list[Any]:
            cursor.execute(statement, params)
            # fetchall() beats iterating for many rows.
            return list(cursor.fetchall())

        return self.run(work, writes=False)

    def run(self, work: Callable[[CursorWrapper], R], *, writes: bool, atomic: bool = False) -> R:
        """Return what `work` does with a cursor, in one transaction if `atomic`.

        `work` runs again from the start if it lost.
        """
        connection, inside, _, started = self._start()
        attempted = started
        handled = sys.exception()
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
                    error,
                    handled,
                    attempted,
                    is_first=waits is None,
                    opened=opened,
                    inside=inside,
                    maybe_applied=maybe_applied,
                )
                waits = waits or retries(TRIES, started + self.retry_seconds)
                self._wait(waits, error)
                attempted = time.monotonic()
            except BaseException:
                if not inside:
                    _abandon(connection)
                raise

    def _start(self) -> tuple[Any, bool, DirectWay, float]:
        """Return the connection, whether the caller has a transaction, its direct way, the time.

        A connection that the server ended while it was idle is closed.
        """
        connection, use = _wrapper(self.using), self._uses.of_thread
        inside = in_transaction(connection)
        started = time.monotonic()
        if started - use.used_at > IDLE_SECONDS and not inside and _is_ended(connection):
            _abandon(connection)
        use.used_at = started
        return connection, inside, use.way, started

    def _raise_unless_lost(
        self,
        error: Error,
        handled: BaseException | None,
        attempted: float,
        *,
        is_first: bool,
        opened: bool,
        inside: bool,
        maybe_applied: bool,
    ) -> None:
        """Return if another try can win; otherwise raise what the caller should see.

        `opened` says whether there was a cursor, `inside` whether the caller has a transaction.
        """
        connection = _wrapper(self.using)
        interruption = _interruption(connection, error, handled)
        if interruption is not None:
            if not inside:
                _abandon(connection)
            raise interruption
        outcome = _outcome(connection, error, attempted, opened=opened)
        if outcome is Outcome.OTHER:
            raise_without_values(connection.vendor, error)
        if not inside and outcome in ABANDONED:
            _abandon(connection)
            if outcome is Outcome.IDLE and is_first:
                return
        if inside and connection.in_atomic_block:
            # MariaDB and SQLite may have rolled back what the block has done so far. Then the rest
            # of it must not be committed.
            connection.set_rollback(True)
        if outcome is Outcome.WAITED:
            raise DatabaseContentionError(
                f"The database {self.using!r} waited for a lock as long as its settings say."
            ) from error
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
            _unavailable_message(self.using, outcome, opened, error),
            maybe_applied=outcome is Outcome.CUT_OFF and maybe_applied,
            misconfigured=outcome is Outcome.NO_TABLE
            or (not opened and is_login_refused(connection.vendor, error)),
        ) from error

    def _wait(self, waits: Iterator[int], error: Error) -> None:
        """Wait before the next try; raise DatabaseContentionError if there are no more."""
        if next(waits, None) is None:
            raise DatabaseContentionError(
                f"The call kept losing against other writers in the database {self.using!r}."
            ) from error


def _wrapper(using: str) -> Any:
    """Return `connections[using]`.

    That looks for an event loop first, and learns from an exception that there is none, which takes
    as long as a third of a get from SQLite.
    """
    wrapper = None if _get_running_loop() else getattr(WRAPPERS, using, None)
    return connections[using] if wrapper is None else wrapper


def _unavailable_message(using: str, outcome: Outcome, opened: bool, error: Error) -> str:
    if outcome is Outcome.NO_TABLE:
        return (
            f"The database {using!r} has no table for entries: run "
            f"`manage.py migrate --database {using}`."
        )
    if outcome is Outcome.NO_TRANSACTIONS:
        return (
            f"A pooler before the database {using!r} refuses transactions. In PgBouncer, set "
            "`pool_mode = transaction`."
        )
    if outcome is Outcome.NO_SESSION:
        return (
            f"A pooler before the database {using!r} had no free connection to it within "
            "PgBouncer's query_wait_timeout."
        )
    if not opened:
        # Such as "password authentication failed" or "too many clients already". No value of an
        # entry has been sent yet.
        reason = str(error.args[-1] if error.args else error).strip().partition("\n")[0]
        return f"The database {using!r} could not be connected to: {reason.rstrip('.')}."
    if outcome in (Outcome.REFUSED, Outcome.READ_ONLY):
        return f"The database {using!r} refused the call."
    return f"The call to the database {using!r} was cut off."


def _interruption(
    connection: Any, error: BaseException, handled: BaseException | None
) -> BaseException | None:
    """Return what interrupted the call, if the error only followed from it.

    To roll back after an interruption can fail, as the statement is still running. `handled` is
    what the caller was handling before the call.
    """
    context = error.__context__
    while context is not None and context is not handled:
        is_of_database = isinstance(context, Error | connection.Database.Error)
        if not is_of_database and is_from_outside(context):
            return context
        context = context.__context__
    return None


def _outcome(connection: Any, error: Error, attempted: float, *, opened: bool) -> Outcome:
    """Return what happened to a call that met an error."""
    outcome = classify(connection.vendor, error)
    if outcome is Outcome.LOST and _has_waited(connection, attempted):
        return Outcome.WAITED
    if outcome in POOLER:
        return outcome  # Django has closed the connection, because it could not roll back.
    if opened and connection.connection is None:
        # The connection was lost before the end of the transaction, and no new one was found.
        return Outcome.CUT_OFF
    # Connecting fails for more reasons than a statement: a wrong password, an unknown host.
    is_about_connecting = isinstance(error, OperationalError | InterfaceError) and not opened
    if outcome is Outcome.OTHER and is_about_connecting:
        return Outcome.REFUSED
    return outcome


def _has_waited(connection: Any, attempted: float) -> bool:
    """Return whether SQLite has waited for a lock as long as the option `timeout` says."""
    if connection.vendor != "sqlite":
        return False  # The errors of the other databases say so.
    timeout: float = connection.settings_dict["OPTIONS"].get("timeout", SQLITE_TIMEOUT)
    return 0 < timeout <= time.monotonic() - attempted + CLOCK_SECONDS


def _is_ended(connection: Any) -> bool:
    """Return whether the server has ended a connection, without asking it."""
    if not hasattr(connection.connection, "fileno") or not hasattr(select, "poll"):
        return False
    try:
        socket = connection.connection.fileno()
    except connection.Database.Error:  # The client library knows it, maybe from a query of the ORM.
        return True
    poll = select.poll()
    poll.register(socket, ENDED)
    return bool(poll.poll(0))


def _abandon(connection: Any) -> None:
    """Close a connection in whatever state it was left. The next call connects again."""
    reset_state(connection)
    with suppress(Error):
        connection.close()


def reset_state(connection: Any) -> None:
    """Have Django's wrapper of a connection forget any transaction."""
    connection.in_atomic_block = connection.needs_rollback = False
    connection.closed_in_transaction = False
    connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether statements are part of a transaction of the caller."""
    if connection.in_atomic_block:
        return True
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


# What `fetch` of Connection.execute can be.


def no_result(executed: Executed) -> None:
    return None


def row_count(executed: Executed) -> int:
    return int(executed.rowcount)


def first_row(executed: Executed) -> Any:
    """Return the only row, or None."""
    # For one row, list() is faster through Django's cursor than fetchone().
    rows = list(executed)
    return rows[0] if rows else None
