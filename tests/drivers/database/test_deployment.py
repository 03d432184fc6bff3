"""What `check --deploy` finds out by asking a database, and which aliases are one place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry
from tests.aliases import alias, another
from tests.conftest import BACKENDS, DATABASE_SERVERS


def found(store: Store) -> list[str | None]:
    return [message.id for message in store.driver.check_deployment()]


def test_a_database_that_is_as_it_should_be_has_no_messages(database_store: Store) -> None:
    assert found(database_store) == []


@pytest.mark.parametrize("seconds", [-7200, -3, 3, 7200])
@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_clocks_that_differ_are_warned_of(
    server: str, seconds: int, open_store: Callable[..., Store]
) -> None:
    store = open_store(server)
    store.get("connected")
    with time_machine.travel(time.time() + seconds):
        [message] = store.driver.check_deployment()
    assert message.id == "django_persist.W008"
    assert f"{abs(seconds)} seconds apart" in message.msg


@pytest.mark.parametrize("server", ["postgresql"])
def test_an_unlogged_table_is_warned_of(server: str, open_store: Callable[..., Store]) -> None:
    store = open_store(server)
    table = connections[server].ops.quote_name(Entry._meta.db_table)
    with connections[server].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} SET UNLOGGED")
        try:
            assert found(store) == ["django_persist.W009"]
        finally:
            cursor.execute(f"ALTER TABLE {table} SET LOGGED")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"PORT": "1"}, "127.0.0.1"), ({"NAME": "nowhere"}, "nowhere")],
    ids=["dead port", "no such database"],
)
@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_a_database_that_cannot_be_asked_is_named(
    server: str, changed: dict[str, str], reason: str, open_store: Callable[..., Store]
) -> None:
    open_store(server)
    with alias("away", another(BACKENDS[server]["OPTIONS"]["using"], **changed)) as name:
        [message] = DatabaseDriver(name).check_deployment()
    assert message.id == "django_persist.W007"
    assert "DATABASES['away'] could not be asked" in message.msg
    assert reason in message.msg


SAME: list[dict[str, Any]] = [
    {},
    {"HOST": "localhost"},
    {"OPTIONS": {"connect_timeout": 3}},
    {"CONN_MAX_AGE": 5},
]
OTHER: list[dict[str, Any]] = [
    {"NAME": "other"},
    {"HOST": "db.example"},
    {"PORT": "7"},
    {"USER": "other"},
    {"OPTIONS": {"service": "other"}},
    {"OPTIONS": {"options": "-c search_path=other"}},
    {"OPTIONS": {"target_session_attrs": "read-write"}},
    {"OPTIONS": {"anything else": 1}},
]


def place(**settings: Any) -> Any:
    one = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "one",
        "HOST": "127.0.0.1",
        "PORT": "5432",
        "USER": "user",
        "OPTIONS": {},
    }
    with alias("place", {**one, **settings}) as name:
        return DatabaseDriver(name).place()


@pytest.mark.parametrize("settings", SAME, ids=str)
def test_aliases_that_certainly_lead_to_one_database_are_one_place(
    settings: dict[str, Any],
) -> None:
    assert place(**settings) == place()


@pytest.mark.parametrize("settings", OTHER, ids=str)
def test_aliases_that_may_lead_elsewhere_are_two_places(settings: dict[str, Any]) -> None:
    assert place(**settings) != place()


@pytest.mark.parametrize(
    "options",
    [{"read_default_file": "/other.cnf"}, {"unix_socket": "/other.sock"}],
    ids=lambda options: next(iter(options)),
)
def test_an_option_of_mysql_can_lead_elsewhere(options: dict[str, str]) -> None:
    mysql = {"ENGINE": "django.db.backends.mysql", "NAME": "one"}
    if "mariadb" not in connections:
        pytest.importorskip("MySQLdb")
    assert place(**mysql, OPTIONS=options) != place(**mysql)
