"""Disks that fill up under load: what was acknowledged is there, and what was refused is not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from django.db import connections

from django_persist import Store, stores
from django_persist.exceptions import StoreUnavailableError
from tests import servers
from tests.aliases import alias, migrate
from tests.conftest import BACKENDS, DATABASE
from tests.servers.disk import Disk
from tests.writers import Writers, writing

pytestmark = pytest.mark.costly

LARGE = os.urandom(4_000_000).hex()
"""More than there is room for in what the servers reserve, such as a WAL of SQLite."""


@dataclass(frozen=True)
class OnDisk:
    """The default store, and the disk with a part of what its server keeps."""

    store: Store
    disk: Disk
    server: Any

    def refuse(self) -> list[StoreUnavailableError]:
        """Make calls for which there is no room; return their errors."""
        calls: list[Callable[[], Any]] = [
            lambda: self.store.set("large", LARGE),
            lambda: self.store.set_many({f"large:{n}": LARGE[n : n + 2000] for n in range(4000)}),
        ]
        if isinstance(self.server, servers.MariaDB):
            # InnoDB of MariaDB 10.11 often crashes if there is no room for a long value.
            del calls[0]
        if isinstance(self.server, servers.Valkey):
            self._wait_until_valkey_notices()
        errors = []
        for call in calls:
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            errors.append(caught.value)
        return errors

    def _wait_until_valkey_notices(self) -> None:
        """Wait for its first failed write: with everysec it may answer before it writes."""
        deadline = time.monotonic() + 10
        with suppress(StoreUnavailableError):
            while time.monotonic() < deadline:
                self.store.set("small", 0)
                time.sleep(0.01)
            pytest.fail("Valkey went on to write.")

    def assert_kept(self, writers: Writers) -> None:
        """Let the processes write again; look at what there is of all that they have written."""
        writers.read(20)
        writers.stop()
        self.store.set("small", 1)
        assert self.store.count("large") == 0
        writers.assert_kept(self.store)


PutOnDisk: TypeAlias = Callable[[str, str], OnDisk]


def sqlite(disk: Disk, journal: str) -> tuple[None, dict[str, Any]]:
    """Return the settings of a SQLite file on the disk."""
    options = {"init_command": f"PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL"}
    file = disk.path / "file.sqlite3"
    engine = "django.db.backends.sqlite3"
    return None, {"ENGINE": engine, "NAME": file, "OPTIONS": {**options, "timeout": 30}}


def postgresql(disk: Disk, part: str) -> tuple[servers.PostgreSQL, dict[str, Any]]:
    """Start a PostgreSQL with the entries or its log on the disk; return it and its settings."""
    folder = disk.path / part
    if part == "log":
        server = servers.PostgreSQL("--wal-segsize=1", f"--waldir={folder}")
        server.start()
        return server, servers.database(server.url)
    server = servers.PostgreSQL(default_tablespace="small")
    folder.mkdir()
    if user := server.user():
        shutil.chown(folder, user)
    server.start()
    database = servers.database(server.url)
    with alias("admin", database) as name, connections[name].cursor() as cursor:
        cursor.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    return server, database


def mariadb(disk: Disk, part: str) -> tuple[servers.MariaDB, dict[str, Any]]:
    """Start a MariaDB with the entries or its log on the disk; return it and its settings."""
    if part == "log":
        server = servers.MariaDB(**{"log-bin": str(disk.path / "log"), "server-id": "1"})
    else:
        server = servers.MariaDB(**{"character-set-server": "utf8mb4"})
        (server.data / "test").symlink_to(disk.path)
    server.start()
    # Nothing else would end the wait for a full log.
    return server, {**servers.database(server.url), "OPTIONS": {"read_timeout": 1}}


@pytest.fixture
def full_disk(settings: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[PutOnDisk]:
    """Return a function that opens a store on a disk which a test may fill."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def put(name: str, part: str) -> OnDisk:
            disk = Disk(9)
            stack.callback(disk.close)
            server: Any
            if name == "valkey":
                options = ("--dir", str(disk.path), "--appendonly", "yes", "--appendfsync", part)
                server = servers.Valkey(*options)
                server.start()
                cache = {**settings.CACHES["valkey"], "LOCATION": server.url}
                settings.CACHES = {**settings.CACHES, "full": cache}
                settings.PERSIST = {"default": {**BACKENDS[name], "OPTIONS": {"cache": "full"}}}
            else:
                prepare = {"own postgresql": postgresql, "own mariadb": mariadb}.get(name, sqlite)
                server, database = prepare(disk, part)
                stack.enter_context(alias("full", database))
                migrate("full")
                settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": "full"}}}
            if server:
                stack.callback(server.kill)
            store = stores["default"]
            stack.callback(store.driver.close)
            return OnDisk(store, disk, server)

        yield put


@pytest.mark.parametrize(
    ("server", "part"),
    [
        ("sqlite", "WAL"),
        ("sqlite", "DELETE"),
        ("own postgresql", "table"),
        ("own mariadb", "table"),
        ("valkey", "everysec"),
    ],
)
def test_a_full_disk_refuses_writes_under_load_and_applies_none_of_them(
    server: str, part: str, full_disk: PutOnDisk
) -> None:
    found = full_disk(server, part)
    found.store.set("kept", 1)
    with writing() as writers:
        writers.read(20)
        found.disk.fill()
        errors = found.refuse()
        writers.read(5, applied=False)
        assert found.store.get("kept") == 1
        found.disk.make_room()
        found.assert_kept(writers)
    assert not any(error.maybe_applied for error in errors)
    assert all(report.done is not None for report in writers.reports)
    assert found.store.get("kept") == 1


@pytest.mark.parametrize(
    ("server", "part"), [("own postgresql", "log"), ("own mariadb", "log"), ("valkey", "always")]
)
def test_a_full_disk_of_the_log_cuts_writes_off_and_loses_none(
    server: str, part: str, full_disk: PutOnDisk
) -> None:
    """PostgreSQL and Valkey end themselves; MariaDB holds every COMMIT, and looks once a minute."""
    found = full_disk(server, part)
    found.store.set("kept", 1)
    with writing() as writers:
        writers.read(20)
        found.disk.fill()
        first, *_ = found.refuse()
        writers.read(5, applied=False)
        if server != "own mariadb":
            assert found.server.process.wait(20) == 1
        found.disk.make_room()
        found.server.kill()
        found.server.start()
        found.assert_kept(writers)
    # Valkey ends in the first write for which there is no room: that may be one of a process.
    others = server == "valkey" and any(report.done is None for report in writers.reports)
    assert first.maybe_applied or others
    assert found.store.get("kept") == 1
