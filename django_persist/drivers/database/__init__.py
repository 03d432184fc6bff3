"""The database driver: one statement per call, on SQLite, PostgreSQL, MariaDB and MySQL."""

from __future__ import annotations

from .driver import DatabaseDriver, prefix_end

__all__ = ["DatabaseDriver", "prefix_end"]
