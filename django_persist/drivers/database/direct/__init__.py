"""The way to the server below Django's cursor, for statements that return a row or less.

Through Django's cursor, a statement costs a web worker two to three times the CPU of what the
client library needs for it. The direct way calls the library itself. It is taken where nobody can
notice: whatever could watch, count, refuse or change a statement sends it through the cursor, and
so does a connection in any but its usual state.
"""

from __future__ import annotations

import select
from asyncio import _get_running_loop
from types import BuiltinFunctionType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError
from django.db.backends.utils import CursorWrapper

from .base import Direct, Executed, is_of_django

__all__ = ["DirectWay", "Executed"]

SETTINGS = vars(settings)
"""Where `settings` keeps what was asked of it, until it changes."""


class DirectWay:
    """Decides whether a call may go below Django's cursor. Each thread has its own."""

    __slots__ = ("_direct", "_methods", "_raw")

    def __init__(self) -> None:
        self._raw: Any = None
        """The client library's object for the connection that was used last."""
        self._direct: Direct | None = None
        self._methods: tuple[Any, ...] = ()
        """See `_methods_of`."""

    def to(self, connection: Any, inside: bool) -> Direct | None:
        """Return the direct way to the server, or None if the call has to go through the cursor.

        `inside` says whether the caller has a transaction.
        """
        if self._raw is not connection.connection:
            self._look_at(connection)
        direct = self._direct
        if direct is None:
            return None
        execute, inner, wrapping, cursor, open_cursor, make, create, ensure = self._methods
        # Not vars(), which takes three times as long.
        cls, attributes = type(connection), connection.__dict__
        if (
            # Somebody watches, counts, changes or refuses the statements.
            connection.execute_wrappers
            or connection.force_debug_cursor
            or (SETTINGS["DEBUG"] if "DEBUG" in SETTINGS else settings.DEBUG)  # noqa: SIM401
            # By identity, because a proxy such as wrapt's equals what it stands for.
            or execute is not CursorWrapper.execute
            or inner is not CursorWrapper._execute  # type: ignore[attr-defined]
            or wrapping is not CursorWrapper._execute_with_wrappers  # type: ignore[attr-defined]
            or cursor is not cls.cursor
            or open_cursor is not cls._cursor
            or make is not cls.make_cursor
            or create is not cls.create_cursor
            or ensure is not cls.ensure_connection
            or "cursor" in attributes
            or "_cursor" in attributes
            or "make_cursor" in attributes
            or "create_cursor" in attributes
            or "ensure_connection" in attributes
            # Greenlets (gevent and eventlet replace this function) or tasks share this thread.
            or type(select.select) is not BuiltinFunctionType
            or _get_running_loop() is not None
            # Django tests the connection before its next statement, or refuses that.
            or (connection.health_check_enabled and not connection.health_check_done)
            or connection.errors_occurred
            or connection.needs_rollback
        ):
            return None
        # The transaction may not have begun, or the server may have given it up.
        return direct if direct.is_ready(inside) else None

    def _look_at(self, connection: Any) -> None:
        """Find out once whether a connection has a direct way."""
        self._raw = self._direct = None
        if connection.connection is None or connection.allow_thread_sharing or not apps.ready:
            return  # It may have one later.
        try:
            connection.validate_thread_sharing()
        except DatabaseError:  # The cursor raises it, too.
            return
        methods = _methods_of(type(connection))
        direct = _direct(connection) if all(map(is_of_django, methods)) else None
        # In one line, between whose steps no interruption arrives.
        self._raw, self._direct, self._methods = connection.connection, direct, methods


def _methods_of(cls: Any) -> tuple[Any, ...]:
    """Return the methods that a statement passes on its usual way."""
    return (
        CursorWrapper.execute,
        CursorWrapper._execute,  # type: ignore[attr-defined]
        CursorWrapper._execute_with_wrappers,  # type: ignore[attr-defined]
        cls.cursor,
        cls._cursor,
        cls.make_cursor,
        cls.create_cursor,
        cls.ensure_connection,
    )


def _direct(connection: Any) -> Direct | None:
    """Return the direct way on a connection, if it and its wrapper are the usual ones."""
    # The client libraries are installed only where they are used.
    if connection.vendor == "sqlite":
        from .sqlite import DirectSQLite

        return DirectSQLite.on(connection)
    if connection.vendor == "mysql":
        from .mysql import DirectMySQL

        return DirectMySQL.on(connection)
    if connection.Database.__name__ == "psycopg":  # and not psycopg2
        from .postgresql import DirectPostgreSQL

        return DirectPostgreSQL.on(connection)
    return None
