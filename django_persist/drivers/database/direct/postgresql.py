"""PostgreSQL below Django's cursor, through psycopg's interface to libpq.

https://www.psycopg.org/psycopg3/docs/api/pq.html
https://www.postgresql.org/docs/current/libpq-async.html
"""

from __future__ import annotations

import select
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import psycopg
from django.db.backends.postgresql import base
from psycopg import errors, pq

from .base import Direct, NoRows, Values, parameter_names, replace_placeholders, values_of

# As plain integers, which are compared twice as fast.
IDLE: Final = pq.TransactionStatus.IDLE.value
ACTIVE: Final = pq.TransactionStatus.ACTIVE.value
INTRANS: Final = pq.TransactionStatus.INTRANS.value
NO_PIPELINE: Final = pq.PipelineStatus.OFF.value
SUCCESSES: Final = (pq.ExecStatus.TUPLES_OK.value, pq.ExecStatus.COMMAND_OK.value)

CURSORS: Final[tuple[Any, ...]] = (base.Cursor, base.ServerBindingCursor)
"""Django's own. A tool that watches statements puts another in their place."""

INTEGERS: Final = {20, 21, 23}
"""The types int8, int2 and int4, by their numbers in pg_type."""

POLL_MILLISECONDS: Final = 100
"""How often a wait looks whether a signal arrived just before it (psycopg looks as often), or
another thread has thrown in an exception."""

CANCEL_SECONDS: Final = 5.0
"""How long psycopg waits for the server to cancel a statement."""

ALREADY_PREPARED: Final = b"42P05"
NOT_PREPARED: Final = b"26000"
"""The project, or a pooler, has deallocated it."""

CHANGED: Final = b"0A000"
"""The types of the columns have changed since it was prepared."""

NEVER: Final = -sys.maxsize
"""A number of uses from which a statement doesn't reach the threshold."""


class PostgreSQLNoRows(NoRows):
    """Its source is the result of libpq."""

    __slots__ = ()

    @property
    def rowcount(self) -> int:
        return self.source.command_tuples or 0


class Numbered(NamedTuple):
    """A statement with PostgreSQL's placeholders."""

    text: bytes
    values: Values
    name: bytes
    """Stands for this text and no other, even if other clients share the session."""


class DirectPostgreSQL(Direct):
    """Sends statements with libpq's non-blocking functions, so that a signal ends the wait.

    They are prepared only where the project's `prepare_threshold` allows it. Inside a transaction
    they aren't: if the server had lost one, its error would end the transaction.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.pgconn: Any = self.raw.pgconn
        self.lock = self.raw.lock
        self.poll = select.poll()
        self.poll.register(self.pgconn.socket, select.POLLIN)
        self.threshold = self.raw.prepare_threshold
        self.uses: Counter[bytes] = Counter()
        self.prepared: set[bytes] = set()

    @staticmethod
    def is_for(connection: Any) -> bool:
        raw = connection.connection
        return (
            type(connection) is base.DatabaseWrapper
            and type(raw) is psycopg.Connection
            and pq.__impl__ != "python"
            and hasattr(raw, "cancel_safe")  # psycopg 3.2 and newer
            and hasattr(select, "poll")
            and raw.pgconn.status == pq.ConnStatus.OK
        )

    def is_ready(self, inside: bool) -> bool:
        # psycopg sends the BEGIN of a transaction with its first statement.
        pgconn = self.pgconn
        return (
            pgconn.transaction_status == (INTRANS if inside else IDLE)
            and self.raw.cursor_factory in CURSORS
            and self.raw.autocommit is not inside
            and pgconn.pipeline_status == NO_PIPELINE
            and pgconn.parameter_status(b"client_encoding") == b"UTF8"
        )

    def execute(self, statement: str, params: Mapping[str, Any]) -> Any:
        text, values_of, name = with_numbers(statement)
        values: list[bytes | None] = []
        for each in values_of(params):
            if isinstance(each, str):
                if "\0" in each:  # libpq would send what is before it
                    raise psycopg.DataError(
                        "PostgreSQL text fields cannot contain NUL (0x00) bytes"
                    )
                values.append(each.encode())
            else:
                values.append(None if each is None else b"%d" % each)
        pgconn = self.pgconn
        # Another thread may be using the connection, such as to wait for notifications.
        with self.lock:
            try:
                prepared = name in self.prepared or self._prepare(name, text)
                # Inside a transaction, the error of one that the server has lost would end it.
                if not prepared or pgconn.transaction_status != IDLE:
                    pgconn.send_query_params(text, values)
                    return _read(self._result())
                pgconn.send_query_prepared(name, values)
                result = self._result()
                if result.status not in SUCCESSES and self._has_lost(name, result):
                    pgconn.send_query_params(text, values)
                    result = self._result()
                return _read(result)
            except BaseException as error:
                if pgconn.transaction_status == ACTIVE:
                    self._break_off(error)
                raise

    def _prepare(self, name: bytes, text: bytes) -> bool:
        """Prepare a statement if it is time for that; return whether the server has it."""
        if self.threshold is None or self.pgconn.transaction_status != IDLE:
            return False
        self.uses[name] += 1
        if self.uses[name] <= self.threshold:
            return False
        self.pgconn.send_prepare(name, text)
        result = self._result()
        if result.status not in SUCCESSES and _state(result) != ALREADY_PREPARED:
            return False
        self.prepared.add(name)
        return True

    def _has_lost(self, name: bytes, result: Any) -> bool:
        """Return whether a prepared statement failed because the server lacks it."""
        state = _state(result)
        if state == NOT_PREPARED:
            self.prepared.clear()
        elif state == CHANGED:
            # The name stands for the old one until the session ends.
            self.prepared.discard(name)
            self.uses[name] = NEVER
        else:
            return False
        return True

    def _result(self) -> Any:
        """Return the result of what was sent, once the server has answered all of it."""
        pgconn, poll, last = self.pgconn, self.poll.poll, None
        try:
            while pgconn.flush():
                _wait_for_room(pgconn)
            while True:
                while pgconn.is_busy():
                    while not poll(POLL_MILLISECONDS):
                        pass
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    break
                last = result
        except psycopg.Error:
            if last is None or last.status in SUCCESSES:
                raise
            # The server has said why it closed the connection.
        while notify := pgconn.notifies():
            if pgconn.notify_handler:
                pgconn.notify_handler(notify)
        return last

    def _break_off(self, error: BaseException) -> None:
        """Close the connection, on which an answer is under way."""
        try:
            if isinstance(error, KeyboardInterrupt):
                # As psycopg does it: nobody waits for the statement any more, so the server
                # shouldn't run it, maybe long after, once a lock is free.
                with suppress(psycopg.Error):
                    self.raw.cancel_safe(timeout=CANCEL_SECONDS)
        finally:
            self.pgconn.finish()


def _wait_for_room(pgconn: Any) -> None:
    """Wait until more of a statement can be sent, and read what the server says meanwhile."""
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while not (ready := poll.poll(POLL_MILLISECONDS)):
        pass
    if ready[0][1] & select.POLLIN:
        pgconn.consume_input()


def _state(result: Any) -> bytes | None:
    """Return the SQLSTATE of the server's error; None if there was none."""
    state: bytes | None = result.error_field(pq.DiagnosticField.SQLSTATE)
    return state


def _read(result: Any) -> Any:
    """Return what a statement did; raise the server's error, as psycopg's cursor does.

    It has returned one row, of one or two columns, or none.
    """
    if result.ntuples:
        # Written out, as a loop over both columns takes a twentieth of a get.
        if result.nfields == 1:
            row: tuple[Any, ...] = (_value(result, 0),)
        else:
            row = (_value(result, 0), _value(result, 1))
        return [row]
    if result.status not in SUCCESSES:
        raise errors.error_from_result(result)
    return PostgreSQLNoRows(result)


def _value(result: Any, column: int) -> Any:
    """Return a column of the row that a statement returned."""
    value = result.get_value(0, column)
    if value is None:
        return None
    return int(value) if result.ftype(column) in INTEGERS else value.decode()


@cache
def with_numbers(statement: str) -> Numbered:
    """Return a statement with `$1` for its first parameter, and so on."""
    names = list(dict.fromkeys(parameter_names(statement)))
    text = replace_placeholders(statement, lambda name: f"${names.index(name) + 1}").encode()
    return Numbered(text, values_of(names), b"persist_" + sha256(text).hexdigest()[:32].encode())
