"""The statements of the database driver: one class for each kind of database."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

from ..connection import Connection
from .base import Statements
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = ["Statements", "statements"]

CLASSES: dict[str, type[Statements]] = {
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "mysql": MySQL,
}


def statements(connection: Connection, cursor: CursorWrapper) -> Statements:
    """Return the statements for the server of a cursor. Sends nothing to it."""
    return CLASSES[cursor.db.vendor](connection, cursor)
