"""The floor of the database driver: its own statements, sent below the library's cursor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connections

from django_persist.drivers.database.direct.postgresql import PostgreSQLNoRows, with_numbers
from django_persist.drivers.database.direct.sqlite import with_question_marks
from django_persist.expiry import now

from ..servers import PREPARED
from .database_library import DatabaseLibrary, MySQL, PostgreSQL, SQLite
from .django_cursor import INCR, MICROSECONDS, from_text, to_text


class BelowCursor(DatabaseLibrary):
    """The calls that `--cpu` measures, with as little around the library as they need."""

    @abstractmethod
    def run(self, statement: str, params: Mapping[str, Any]) -> Any:
        """Run a statement, and return what it did, as a cursor with all its rows has it."""

    def get(self, key: str) -> Any:
        for text, expires_at in self.run(self.sql.get, {"key": key}):
            if expires_at is None or int(expires_at) > now():
                return from_text(text)
        return None

    def set(self, key: str, value: Any) -> None:
        params = {"key": key, "value": to_text(value).decode(), "expires": now() + MICROSECONDS}
        self.run(self.sql.set, params)

    def create(self, key: str, value: Any) -> bool:
        text, started = to_text(value).decode(), now()
        params = {"key": key, "value": text, "expires": started + MICROSECONDS, "now": started}
        return self.sql.created(self.run(self.sql.create, params))

    def incr(self, key: str) -> int:
        started = now()
        params = {**INCR, "key": key, "expires": started + MICROSECONDS, "now": started}
        params |= self.sql.incr_constants
        total = self.sql.counted(self.run(self.sql.incr, params), 1)
        assert total is not None
        return total


class BareSQLite(BelowCursor, SQLite):
    name = "Connection.execute"

    def run(self, statement: str, params: Mapping[str, Any]) -> Any:
        text, values = with_question_marks(statement)
        return self.connection.execute(text, values(params))


class BarePostgreSQL(BelowCursor, PostgreSQL):
    name = "exec_params"

    def run(self, statement: str, params: Mapping[str, Any]) -> Any:
        text, values, _ = with_numbers(statement)
        return _read(self.connection.pgconn.exec_params(text, _to_bytes(values(params))))


class PreparedPostgreSQL(BelowCursor, PostgreSQL):
    name = "exec_prepared"

    def connect(self) -> Any:
        connection = super().connect()
        for statement in (self.sql.get, self.sql.set, self.sql.create, self.sql.incr):
            text, _, name = with_numbers(statement)
            _read(connection.pgconn.prepare(name, text))
        return connection

    def run(self, statement: str, params: Mapping[str, Any]) -> Any:
        _, values, name = with_numbers(statement)
        return _read(self.connection.pgconn.exec_prepared(name, _to_bytes(values(params))))


class BareMySQL(BelowCursor, MySQL):
    name = "query, store_result"

    def run(self, statement: str, params: Mapping[str, Any]) -> Any:
        # mysqlclient is installed only where it is used.
        from django_persist.drivers.database.direct.mysql import MySQLNoRows, with_literals

        connection = self.connection
        text, values = with_literals(statement)
        literals = [
            b"%d" % each if isinstance(each, int) else connection.string_literal(each.encode())
            for each in values(params)
        ]
        connection.query(text % tuple(literals))
        stored = connection.store_result()
        return MySQLNoRows(connection) if stored is None else stored.fetch_row(0)


def _to_bytes(values: Any) -> list[bytes]:
    return [b"%d" % each if isinstance(each, int) else each.encode() for each in values]


def _read(result: Any) -> Any:
    """Return what a statement of PostgreSQL did, its row as bytes."""
    assert not result.error_message, result.error_message
    if result.ntuples:
        return [[result.get_value(0, column) for column in range(result.nfields)]]
    return PostgreSQLNoRows(result)


def below_cursor(using: str) -> BelowCursor:
    """Return the floor for an alias of DATABASES."""
    kinds: dict[str, Callable[[str], BelowCursor]] = {
        "sqlite": BareSQLite,
        "postgresql": PreparedPostgreSQL if using == PREPARED else BarePostgreSQL,
        "mysql": BareMySQL,
    }
    return kinds[connections[using].vendor](using)
