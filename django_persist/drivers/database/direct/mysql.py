"""MariaDB and MySQL below Django's cursor, through mysqlclient's connection.

https://mysqlclient.readthedocs.io/user_guide.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import MySQLdb
from django.db import IntegrityError
from django.db.backends.mysql.base import CursorWrapper, DatabaseWrapper
from MySQLdb.connections import Connection

from .base import PLACEHOLDER, Direct, NoRows, Values, is_of_django, parameter_names, values_of


class MySQLNoRows(NoRows):
    """Its source is the connection, which knows what the last statement did."""

    __slots__ = ()

    @property
    def rowcount(self) -> int:
        return int(self.source.affected_rows())

    @property
    def lastrowid(self) -> int:
        return int(self.source.insert_id())


class DirectMySQL(Direct):
    """Runs statements with `query`, into which the client writes the values, as its cursor does."""

    @staticmethod
    def is_for(connection: Any) -> bool:
        return (
            type(connection) is DatabaseWrapper
            and type(connection.connection) is Connection
            and is_of_django(CursorWrapper.execute)
        )

    def is_ready(self, inside: bool) -> bool:
        raw = self.raw
        try:
            is_ready: bool = raw.get_autocommit() is not inside and raw.encoding == "utf8"
        except MySQLdb.Error:  # The connection is closed.
            return False
        return is_ready

    def execute(self, statement: str, params: Mapping[str, Any]) -> Any:
        raw = self.raw
        text, values_of = with_literals(statement)
        literals = []
        for each in values_of(params):
            if isinstance(each, str):
                literals.append(raw.string_literal(each.encode()))
            else:
                literals.append(b"NULL" if each is None else b"%d" % each)
        query = text % tuple(literals)
        try:
            raw.query(query)
            stored = raw.store_result()
            return MySQLNoRows(raw) if stored is None else stored.fetch_row(0)
        except MySQLdb.OperationalError as error:
            if error.args[0] in CursorWrapper.codes_for_integrityerror:
                raise IntegrityError(*error.args)  # noqa: B904 (as Django's cursor does it)
            raise
        except MySQLdb.Error:
            raise
        except BaseException:
            _cut(raw)  # The answer may not have been read.
            raise


def _cut(raw: Any) -> None:
    """End the connection to the server.

    Not with `close`: Django closes it once more, after a ROLLBACK that fails, and mysqlclient would
    raise an error that hides the interruption.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


@cache
def with_literals(statement: str) -> tuple[bytes, Values]:
    """Return a statement with `%s` for each of its parameters, and what returns their values."""
    text = PLACEHOLDER.sub(lambda match: "%s" if match[1] else "%%", statement)
    return text.encode(), values_of(parameter_names(statement))
