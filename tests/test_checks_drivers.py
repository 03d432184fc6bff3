"""What the system checks report about drivers and their servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_persist import stores
from tests.conftest import BACKENDS, DATABASES, MYSQLS

ALIASES = {name: BACKENDS[name]["OPTIONS"]["using"] for name in DATABASES}
MEMORY = "django_persist.drivers.memory.MemoryDriver"
SQLITE = "django.db.backends.sqlite3"

AddDatabase = Callable[..., str]


@pytest.fixture
def add_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[AddDatabase]:
    """Return a function that adds an alias to DATABASES. Tests may connect while it exists."""
    added: list[str] = []

    def add(like: str = "default", **settings: Any) -> str:
        alias = f"added {len(added)}"
        connections.settings[alias] = {**connections.settings[like], **settings}
        added.append(alias)
        return alias

    with django_db_blocker.unblock():
        yield add
        for alias in added:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


def ids(*databases: str, deploy: bool = False) -> list[str]:
    """Return the ids that `manage.py check --database ... [--deploy]` reports."""
    messages = checks.run_checks(
        tags=["django_persist", *([checks.Tags.database] if databases else [])],
        databases=databases or None,
        include_deployment_checks=deploy,
    )
    assert all(message.hint for message in messages)
    return [
        str(m.id).removeprefix("django_persist.") for m in messages if "django_persist" in str(m.id)
    ]


def use(settings: Any, alias: str) -> None:
    options = {"using": alias}
    settings.PERSIST = {"default": {**BACKENDS["sqlite"], "OPTIONS": options}}


def test_a_working_store_has_no_message(
    settings: Any, server: str, add_database: AddDatabase
) -> None:
    settings.PERSIST = {"default": BACKENDS[server]}
    assert ids() == []
    assert ids(*connections) == []


def test_a_working_database_can_be_deployed(
    settings: Any, database: str, add_database: AddDatabase
) -> None:
    settings.PERSIST = {"default": BACKENDS[database]}
    assert ids(*connections, deploy=True) == []


def test_the_memory_driver_is_not_for_deployment(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["memory"]}
    assert ids() == []
    assert ids(deploy=True) == ["W002"]


class Router:
    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return not (db in self.forbidden and app_label == "django_persist")


def test_a_router_that_forbids_the_table_is_reported(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Router("postgresql")]
    assert ids() == []
    use(settings, "postgresql")
    assert ids() == ["E009"]


def test_an_unknown_vendor_is_refused(settings: Any, add_database: AddDatabase) -> None:
    use(settings, add_database(ENGINE="django.db.backends.dummy"))
    with pytest.raises(ImproperlyConfigured, match="'added 0'.*SQLite, PostgreSQL, MariaDB"):
        stores["default"]
    assert ids() == ["E006"]


def test_two_aliases_of_one_sqlite_file_are_reported(
    settings: Any, add_database: AddDatabase
) -> None:
    other = add_database()
    use(settings, other)
    assert ids() == ["W004"]
    use(settings, "default")
    assert ids() == ["W004"]


def test_a_file_is_the_same_however_its_path_is_written(
    settings: Any, add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(connections["default"].settings_dict["NAME"])
    monkeypatch.chdir(path.parent)
    use(settings, add_database(NAME=path.name))
    assert ids() == ["W004"]


def test_aliases_of_other_sqlite_files_are_fine(
    settings: Any, add_database: AddDatabase, tmp_path: Any
) -> None:
    use(settings, add_database(NAME=tmp_path / "other.sqlite3"))
    assert ids() == []


def test_two_stores_on_one_file_under_two_aliases_are_refused(
    settings: Any, add_database: AddDatabase
) -> None:
    settings.PERSIST = {
        alias: {**BACKENDS["sqlite"], "OPTIONS": {"using": using}}
        for alias, using in (("default", "default"), ("other", add_database()))
    }
    with pytest.raises(ImproperlyConfigured, match="in the same place"):
        stores["default"]
    assert "E005" in ids()


def test_an_sqlite_that_is_too_old_is_reported(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = connections["default"].Database  # type: ignore[attr-defined]
    monkeypatch.setattr(database, "sqlite_version_info", (3, 34, 1))
    assert ids() == ["E013"]


@pytest.mark.parametrize("database", MYSQLS)
def test_a_connection_without_found_rows_is_reported(
    settings: Any, add_database: AddDatabase, database: str
) -> None:
    from MySQLdb.constants import CLIENT

    for flag, expected in ((CLIENT.IGNORE_SPACE, ["E008"]), (CLIENT.FOUND_ROWS, [])):
        use(settings, add_database(database, OPTIONS={"client_flag": flag}))
        assert ids() == expected


@pytest.mark.parametrize("database", MYSQLS)
@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "utf8mb4"])
def test_a_connection_that_is_not_utf8mb4_is_reported(
    settings: Any, add_database: AddDatabase, database: str, charset: str
) -> None:
    alias = add_database(database, OPTIONS={"charset": charset})
    use(settings, alias)
    assert ids() == []
    assert ids("default") == []
    assert ids(alias) == ([] if charset == "utf8mb4" else ["E007"])


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
def test_a_postgresql_database_that_is_not_utf8_is_reported(
    settings: Any, add_database: AddDatabase, worker_id: str, encoding: str
) -> None:
    name = f"{encoding.lower()}_{worker_id}"
    with connections["postgresql"].cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    try:
        alias = add_database("postgresql", NAME=name)
        use(settings, alias)
        assert ids(alias) == ([] if encoding == "UTF8" else ["E007"])
        connections[alias].close()
    finally:
        with connections["postgresql"].cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-8"])
def test_an_sqlite_file_that_is_not_utf8_is_reported(
    settings: Any, add_database: AddDatabase, tmp_path: Any, encoding: str
) -> None:
    init = f"PRAGMA encoding='{encoding}'; CREATE TABLE IF NOT EXISTS t (a)"
    alias = add_database(NAME=tmp_path / "other.sqlite3", OPTIONS={"init_command": init})
    use(settings, alias)
    assert ids(alias) == ([] if encoding == "UTF-8" else ["E007"])


def test_a_server_is_asked_only_if_its_database_is_checked(
    settings: Any, add_database: AddDatabase
) -> None:
    alias = add_database("postgresql", HOST="127.0.0.1", PORT=1)
    use(settings, alias)
    assert ids() == []
    assert ids("default", "postgresql") == []


def test_no_server_is_asked_if_settings_are_invalid(
    settings: Any, add_database: AddDatabase
) -> None:
    settings.PERSIST = []
    assert ids("default", deploy=True) == ["E001"]
    settings.PERSIST = {"default": {"BACKEND": MEMORY}, "other": {"BACKEND": "nowhere"}}
    assert ids("default") == ["E003"]
