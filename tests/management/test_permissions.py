"""Commands of a user who lacks a permission on the server: a message, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connections

from tests import aliases, servers
from tests.conftest import DATABASE, REDIS, OpenStore
from tests.management.commands import persist
from tests.management.exports import entry, lines

USER = servers.run()

GRANTS = {
    "postgresql": f"CREATE ROLE {USER} LOGIN",
    # Without any privilege on the database, it couldn't be connected to.
    "mariadb": f"GRANT CREATE TEMPORARY TABLES ON {{database}}.* TO {USER}@'%'",
}
CREATED = {"postgresql": None, "mariadb": f"CREATE USER {USER}@'%'"}
DROPPED = {"postgresql": f"DROP ROLE {USER}", "mariadb": f"DROP USER {USER}@'%'"}
CODES = {"postgresql": "ProgrammingError 42501", "mariadb": "OperationalError 1142"}


@pytest.fixture(params=["postgresql", "mariadb"])
def web_database(
    request: pytest.FixtureRequest, open_store: OpenStore, settings: Any
) -> Iterator[str]:
    """The name of a database. The user of the default store may not use its table."""
    name = request.param
    open_store(name).set("key", "secret")
    database = connections[name].settings_dict
    with connections[name].cursor() as cursor:
        for statement in filter(None, (CREATED[name], GRANTS[name])):
            cursor.execute(statement.format(database=database["NAME"]))
    with aliases.alias("web", {**database, "USER": USER}):
        settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": "web"}}}
        yield name
    with connections[name].cursor() as cursor:
        cursor.execute(DROPPED[name])


CALLS = [
    ("get", "key"),
    ("set", "key", '"secret"'),
    ("keys",),
    ("clear", "--no-input"),
    ("stats",),
    ("export",),
    ("import",),
]


@pytest.mark.parametrize("args", CALLS, ids=" ".join)
def test_a_missing_privilege_is_named(web_database: str, args: tuple[str, ...]) -> None:
    result = persist(*args, stdin=lines(entry("key", "secret")))
    assert result.code == 3
    assert f"The database raised {CODES[web_database]}: its user lacks a privilege" in result.err
    assert "migrate" not in result.err
    assert "secret" not in result.err


@pytest.fixture
def web_redis(open_store: OpenStore, settings: Any) -> Iterator[None]:
    """A default store whose user on Valkey may not GET, SET or SCAN."""
    open_store("valkey").set("key", "secret")
    valkey = settings.CACHES["valkey"]
    client: Any = redis.Redis.from_url(valkey["LOCATION"])
    client.acl_setuser(USER, enabled=True, nopass=True, keys=["*"], reset=True)
    client.execute_command("ACL", "SETUSER", USER, "+@all", "-get", "-set", "-scan")
    location = valkey["LOCATION"].replace("redis://", f"redis://{USER}:any@")
    settings.CACHES = {**settings.CACHES, "web": {**valkey, "LOCATION": location}}
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "web"}}}
    yield
    client.acl_deluser(USER)


@pytest.mark.parametrize("args", CALLS, ids=" ".join)
def test_a_missing_permission_on_redis_is_named(web_redis: None, args: tuple[str, ...]) -> None:
    result = persist(*args, stdin=lines(entry("key", "secret")))
    assert result.code == 3
    assert "Redis raised " in result.err
    assert "has no permissions to run the" in result.err
    assert "secret" not in result.err


def test_an_export_that_fails_reports_what_became_of_the_file(
    web_redis: None, tmp_path: Any
) -> None:
    backup = tmp_path / "backup.jsonl"
    backup.write_text("of yesterday")
    result = persist("export", str(backup))
    assert f"{backup} was not changed." in result.err
    assert backup.read_text() == "of yesterday"
