"""SQLite files that can't be written or read: the call raises, and nothing else is lost."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import ContentionError, StoreUnavailableError
from django_persist.models import Entry
from tests.aliases import alias, migrate, sqlite
from tests.drivers.database.test_refused import refused, run


@pytest.fixture
def file(tmp_path: Path, django_db_setup: None, django_db_blocker: Any) -> Iterator[Path]:
    """A SQLite file with the alias "file" and some entries."""
    database = sqlite()
    with django_db_blocker.unblock(), alias("file", database) as name:
        migrate(name)
        Store(DatabaseDriver(name)).set_many({f"key:{n}": "x" * 1000 for n in range(100)})
        connections[name].close()
        yield Path(database["NAME"])


def test_a_file_opened_read_only_refuses_writes(file: Path) -> None:
    database = {**sqlite(uri=True), "NAME": f"file:{file}?mode=ro"}
    with alias("reading", database) as name:
        store = Store(DatabaseDriver(name))
        with refused():
            store.set("key:1", 2)
        with refused():
            store.remove("key:1")
        assert store.count() == 100


def test_a_missing_file_raises(file: Path) -> None:
    database = {**sqlite(), "NAME": file.parent / "nowhere" / "file"}
    with alias("nowhere", database) as name, refused():
        Store(DatabaseDriver(name)).get("key")


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_full_disk_raises_and_loses_nothing(file: Path, journal: str) -> None:
    """A limit of the process stands in for the disk: the system refuses to write more of a file."""
    run("file", f"PRAGMA journal_mode = {journal}")
    store = Store(DatabaseDriver("file"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 100_000, limits[1]))
    try:
        with pytest.raises(StoreUnavailableError) as caught:
            store.set("large", "x" * 1_000_000)
        # A transaction may write to the disk only at its COMMIT, which is Django's.
        with pytest.raises(OperationalError), transaction.atomic("file"):
            store.set("key:1", 2)
            store.set("large", "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value, OperationalError)
    assert caught.value.maybe_applied is True  # nobody can know after such an error
    assert store.get("key:1") == "x" * 1000
    assert store.count() == 100
    store.set("large", "x" * 1_000_000)
    with connections["file"].cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        assert cursor.fetchall() == [("ok",)]


def test_a_corrupt_file_raises(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    file.write_bytes(content)
    store = Store(DatabaseDriver("file"))
    for call in (
        lambda: store.get("key:1"),
        lambda: store.set("key:1", 2),
        lambda: list(store.keys()),
    ):
        with refused():
            call()


def test_a_file_that_is_no_database_raises(file: Path) -> None:
    file.write_bytes(b"no database " * 1000)
    store = Store(DatabaseDriver("file"))
    for call in (lambda: store.get("key:1"), lambda: store.set("key:1", 2)):
        with refused():
            call()


def test_a_table_that_another_connection_has_locked_is_contention(file: Path) -> None:
    """Connections that share a cache lock tables, for which SQLite's timeout doesn't wait."""
    uri = f"file:{file}?cache=shared"
    with (
        alias("shared", {**sqlite(uri=True), "NAME": uri}) as name,
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as other,
    ):
        store = Store(DatabaseDriver(name))
        assert store.count() == 100
        other.execute("BEGIN IMMEDIATE")
        other.execute(f"DELETE FROM {Entry._meta.db_table}")
        with pytest.raises(ContentionError), transaction.atomic(name):
            store.get("key:1")
        other.execute("ROLLBACK")
        assert store.get("key:1") == "x" * 1000
