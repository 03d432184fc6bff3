"""The baseline without Django: the same statements, sent with the database's own library."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from threading import local
from typing import Any

from django.db import connections

from .django_cursor import Statements


class DatabaseLibrary(Statements):
    """One connection for each thread, in the library's own autocommit mode."""

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self.settings = connections[using].settings_dict
        self.local = local()

    @abstractmethod
    def connect(self) -> Any:
        """Return a new connection."""

    @property
    def connection(self) -> Any:
        try:
            return self.local.connection
        except AttributeError:
            self.local.connection = self.connect()
            return self.local.connection

    def cursor(self) -> AbstractContextManager[Any]:
        return closing(self.connection.cursor())

    def close(self) -> None:
        if hasattr(self.local, "connection"):
            self.local.connection.close()
            del self.local.connection


class SQLite(DatabaseLibrary):
    name = "sqlite3"
    placeholder = "?"

    def connect(self) -> Any:
        options = self.settings["OPTIONS"]
        connection = sqlite3.connect(
            self.settings["NAME"], isolation_level=None, timeout=options["timeout"]
        )
        connection.executescript(options["init_command"])
        return connection


class PostgreSQL(DatabaseLibrary):
    name = "psycopg"

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host=self.settings["HOST"],
            port=self.settings["PORT"],
            user=self.settings["USER"],
            dbname=self.settings["NAME"],
            autocommit=True,
        )


class MySQL(DatabaseLibrary):
    name = "mysqlclient"

    def connect(self) -> Any:
        import MySQLdb
        from MySQLdb.constants import CLIENT

        return MySQLdb.connect(
            host=self.settings["HOST"],
            port=self.settings["PORT"] or 3306,
            user=self.settings["USER"],
            password=self.settings["PASSWORD"],
            database=self.settings["NAME"],
            charset="utf8mb4",
            client_flag=CLIENT.FOUND_ROWS,
            autocommit=True,
        )


def database_library(using: str) -> DatabaseLibrary:
    """Return the baseline for the vendor of a database."""
    kinds: dict[str, Callable[[str], DatabaseLibrary]] = {
        "sqlite": SQLite,
        "postgresql": PostgreSQL,
        "mysql": MySQL,
    }
    return kinds[connections[using].vendor](using)
