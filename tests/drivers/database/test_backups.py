"""Entries of every kind in a database that is restored from a backup by the server's own tools."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests import servers
from tests.aliases import alias, another
from tests.conftest import OwnServer
from tests.mixed import fill, state


def vacuum(source: sqlite3.Connection, target: Path) -> None:
    source.execute("VACUUM INTO ?", [str(target)])


def back_up(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as connection:
        source.backup(connection)


def dump(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as connection:
        connection.executescript("\n".join(source.iterdump()))


@pytest.mark.parametrize("way", [vacuum, back_up, dump])
@pytest.mark.parametrize("database", ["sqlite"])
def test_every_entry_of_sqlite_is_in_its_backup(
    database: str,
    way: Callable[[sqlite3.Connection, Path], None],
    open_store: Callable[..., Store],
    tmp_path: Path,
) -> None:
    before = fill(open_store(database))
    file = tmp_path / "backup.sqlite3"
    source: Any = connections["default"].connection
    way(source, file)
    with alias("restored", another("default", NAME=file)) as name:
        assert state(Store(DatabaseDriver(name))) == before


@pytest.mark.parametrize("format_", ["plain", "custom"])
@pytest.mark.parametrize("own", ["own postgresql"], indirect=True)
def test_every_entry_of_postgresql_is_restored_by_its_own_tools(
    own: OwnServer, format_: str
) -> None:
    server = own.server
    assert isinstance(server, servers.PostgreSQL)
    before = fill(Store(DatabaseDriver(own.alias)))
    file = str(server.folder / format_)
    to = ("-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres")
    own.admin("CREATE DATABASE restored")
    try:
        server.run_program("pg_dump", *to, f"--format={format_}", "-f", file, "postgres")
        if format_ == "plain":
            stop = ("-v", "ON_ERROR_STOP=1")
            server.run_program("psql", *to, "-q", *stop, "-f", file, "restored")
        else:
            server.run_program("pg_restore", *to, "--exit-on-error", "-d", "restored", file)
        with alias("restored", {**own.database, "NAME": "restored"}) as name:
            assert state(Store(DatabaseDriver(name))) == before
    finally:
        own.admin("DROP DATABASE restored")


@pytest.mark.parametrize("own", ["own mariadb"], indirect=True)
def test_every_entry_of_mariadb_is_restored_by_its_own_tools(own: OwnServer) -> None:
    before = fill(Store(DatabaseDriver(own.alias)))
    to = ("--no-defaults", "--host=127.0.0.1", f"--port={own.server.port}", "--user=admin")
    file = own.server.folder / "dump.sql"
    own.admin("CREATE DATABASE restored")
    try:
        with file.open("wb") as out:
            subprocess.run(["mariadb-dump", *to, "test"], stdout=out, check=True)
        with file.open("rb") as dumped:
            subprocess.run(["mariadb", *to, "restored"], stdin=dumped, check=True)
        with alias("restored", {**own.database, "NAME": "restored", "USER": "admin"}) as name:
            assert state(Store(DatabaseDriver(name))) == before
    finally:
        own.admin("DROP DATABASE restored")
