"""The statements of the database driver: `sqlite` has them all, the others what differs."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import Statements

__all__ = ["CANONICAL", "Statements", "statements"]

CANONICAL = r"^(0|-?[1-9][0-9]{0,18})\z"
"""Integers as they are written by whoever counts; as a parameter, for MariaDB and MySQL."""


def statements(cursor: CursorWrapper) -> Statements:
    """Return the statements for the server at the other end of a cursor."""
    kinds = {"sqlite": Statements, "postgresql": PostgreSQL, "mysql": MySQL}
    return kinds[cursor.db.vendor](cursor)
