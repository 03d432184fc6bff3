"""Users and servers that lack a command: a call is right, or fails and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import NotSupportedError
from tests.drivers.redis.calls import CALLS, MINUTE, MOMENT, assert_unchanged, prepare
from tests.drivers.redis.conftest import MakeDriver
from tests.servers.valkey_servers import ValkeyServer

pytestmark = pytest.mark.costly

OwnServer = Callable[..., ValkeyServer]
Run = Callable[[RedisDriver], Any]

MORE: dict[str, Run] = {
    "incr, new, lifetime": lambda driver: driver.incr("new", 1, MINUTE),
    "incr, new, moment": lambda driver: driver.incr("new", 1, MOMENT),
    "get_item, none": lambda driver: driver.get_item("new"),
    "clock": lambda driver: bool(driver.clock()),
}
RUNS: dict[str, Run] = {**{name: call.run for name, call in CALLS.items()}, **MORE}
COMMANDS = (
    *("get", "set", "mget", "exists", "unlink", "incrby", "scan", "time"),
    *("persist", "pexpire", "pexpireat", "pexpiretime", "eval", "evalsha"),
)


def normal(result: Any) -> Any:
    return sorted(result) if isinstance(result, list) else result


def prepared(driver: RedisDriver) -> RedisDriver:
    prepare(driver)
    driver.touch("k", None)
    return driver


@pytest.fixture
def results(driver: RedisDriver) -> dict[str, Any]:
    """Return what each call returns to a user who may do everything."""
    return {name: normal(run(prepared(driver))) for name, run in RUNS.items()}


@pytest.mark.parametrize("denied", COMMANDS)
def test_a_user_who_may_not_run_one_command(
    server: ValkeyServer,
    driver: RedisDriver,
    make_driver: MakeDriver,
    results: dict[str, Any],
    denied: str,
) -> None:
    server.run("ACL", "SETUSER", "web", "reset", "on", ">hush", "~*", "+@all", f"-{denied}")
    web = make_driver(f"redis://web:hush@127.0.0.1:{server.port}/0")
    failures = 0
    if denied == "eval":
        server.run("SCRIPT FLUSH")  # Scripts are sent with their text when they are not known.
    prepared(driver)
    for name, run in RUNS.items():
        try:
            result = normal(run(web))
        except redis.ResponseError as error:
            assert "permission" in str(error).lower(), name
            assert denied in str(error).lower(), name
            assert "secret" not in str(error), name
            failures += 1
            assert_unchanged(driver)
        else:
            assert result == results[name], name
            prepared(driver)
    assert failures
    server.run("ACL", "DELUSER", "web")


def test_an_export_without_permission_to_read_fails(
    server: ValkeyServer, driver: RedisDriver, make_driver: MakeDriver, settings: Any
) -> None:
    prepare(driver)
    server.run("ACL", "SETUSER", "web", "reset", "on", ">hush", "~*", "+@all", "-get")
    make_driver(f"redis://web:hush@127.0.0.1:{server.port}/0")
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.redis.RedisDriver",
            "OPTIONS": {"cache": "persist"},
        }
    }
    with pytest.raises(CommandError, match="(?i)Redis raised .* permission"):
        call_command("persist", "export", stdout=StringIO())
    server.run("ACL", "DELUSER", "web")


def test_a_server_whose_unlink_has_another_name(
    own_server: OwnServer, make_driver: MakeDriver
) -> None:
    server = own_server("--rename-command", "UNLINK", "hidden")
    store = Store(make_driver(server.url))
    messages = set()
    for call in (
        lambda: store.remove("k"),
        lambda: store.remove_many(["k", "l"]),
        lambda: store.pop("k"),
        store.clear,
    ):
        store.set("k", "secret")
        with pytest.raises(NotSupportedError, match="rename-command") as caught:
            call()
        messages.add(str(caught.value).replace("UNLINK", "a command"))
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert store.get("k") == "secret"
    assert len(messages) == 1
