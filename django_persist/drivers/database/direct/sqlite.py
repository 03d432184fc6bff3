"""SQLite below Django's cursor, through Python's sqlite3.

https://docs.python.org/3/library/sqlite3.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db.backends.sqlite3.base import DatabaseWrapper, SQLiteCursorWrapper

from .base import Direct, Values, is_of_django, parameter_names, replace_placeholders, values_of


class DirectSQLite(Direct):
    """Runs statements with `Connection.execute`, which returns a cursor of sqlite3."""

    @staticmethod
    def is_for(connection: Any) -> bool:
        return (
            type(connection) is DatabaseWrapper
            and type(connection.connection) is sqlite3.Connection
            and is_of_django(SQLiteCursorWrapper.execute)
        )

    def is_ready(self, inside: bool) -> bool:
        # With AUTOCOMMIT off, sqlite3 begins a transaction with the first statement that writes.
        try:
            in_transaction: bool = self.raw.in_transaction
        except sqlite3.ProgrammingError:  # The connection is closed.
            return False
        return in_transaction is inside

    def execute(self, statement: str, params: Mapping[str, Any]) -> Any:
        text, values = with_question_marks(statement)
        return self.raw.execute(text, values(params))

    def release(self, executed: sqlite3.Cursor) -> None:
        # As long as it is open, the database is locked, even once the connection is closed.
        executed.close()


@cache
def with_question_marks(statement: str) -> tuple[str, Values]:
    """Return a statement with SQLite's placeholders, and what returns their values.

    All are positional, because SQLite looks up a named one by searching all names.
    """
    names = parameter_names(statement)
    return replace_placeholders(statement, lambda name: "?"), values_of(names)
