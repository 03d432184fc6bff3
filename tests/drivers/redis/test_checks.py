"""What `manage.py check --deploy` says about servers that evict entries or lose them on restart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command

from django_persist import stores
from django_persist.exceptions import InvalidStoreError
from tests.conftest import REDIS
from tests.drivers.redis.cluster.conftest import FACTORY
from tests.drivers.redis.conftest import DJANGO_REDIS
from tests.drivers.redis.test_sentinel import alias as sentinel_alias
from tests.servers.valkey_servers import ValkeySentinel, ValkeyServer, start_cluster

Check = Callable[..., dict[str, str]]
OwnServer = Callable[..., ValkeyServer]

DURABLE = ("--appendonly", "yes")


@pytest.fixture
def check(settings: Any) -> Check:
    """Return a function that checks a store on an alias, and returns the messages by their ids."""

    def check_(location: Any, *, deploy: bool = True, **alias: Any) -> dict[str, str]:
        alias = {"BACKEND": DJANGO_REDIS, "LOCATION": location, **alias}
        settings.CACHES = {**settings.CACHES, "persist": alias}
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "persist"}}}
        messages = checks.run_checks(tags=["django_persist"], include_deployment_checks=deploy)
        with suppress(InvalidStoreError):
            stores["default"].driver.close()
        assert all(message.hint for message in messages)
        assert not any("hush" in str(message) for message in messages)
        return {str(m.id).removeprefix("django_persist."): m.msg for m in messages}

    return check_


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (DURABLE, []),
        (("--save", "3600 1"), []),
        ((), ["W006"]),
        ((*DURABLE, "--maxmemory-policy", "allkeys-lru"), ["W005"]),
        ((*DURABLE, "--maxmemory-policy", "volatile-ttl"), ["W005"]),
        (("--maxmemory-policy", "allkeys-random"), ["W005", "W006"]),
    ],
)
def test_one_server(
    own_server: OwnServer, check: Check, options: tuple[str, ...], ids: list[str]
) -> None:
    server = own_server(*options)
    messages = check(server.url)
    assert [*messages] == ids
    assert all("CACHES['persist']" in message for message in messages.values())
    assert all(f"Redis at 127.0.0.1:{server.port}" in message for message in messages.values())
    if "W005" in messages:
        assert options[-1] in messages["W005"]
    asked = server.client.info("commandstats")["cmdstat_info"]["calls"]
    assert check(server.url, deploy=False) == {}
    assert server.client.info("commandstats")["cmdstat_info"]["calls"] == asked + 1  # This INFO.


def test_a_user_who_lacks_some_permissions(own_server: OwnServer, check: Check) -> None:
    server = own_server("--maxmemory-policy", "allkeys-lru")
    url = f"redis://web:hush@127.0.0.1:{server.port}/0"
    for allowed, ids in ((["+@all", "-config"], ["W005"]), (["+@read"], ["W007"])):
        server.run("ACL SETUSER", "web", "reset", "on", ">hush", "~*", *allowed)
        assert [*check(url)] == ids


def test_a_server_that_does_not_answer_is_named(own_server: OwnServer, check: Check) -> None:
    server = own_server("--maxmemory-policy", "allkeys-lru")
    server.client.config_set("requirepass", "hush")
    assert "Authentication required" in check(server.url)["W007"]
    assert check(f"redis://:hush@127.0.0.1:{server.port}").keys() == {"W005", "W006"}
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert "Timeout" in check(server.url, OPTIONS={"SOCKET_TIMEOUT": 0.2})["W007"]
    assert time.monotonic() - started < 3
    server.kill()
    assert "can't be reached" in check(server.url)["W007"]
    call_command("check", deploy=True, tags=["django_persist"], stdout=StringIO())


def test_a_cluster(check: Check) -> None:
    cluster = start_cluster(3, replicas=1)
    try:
        one, other, third = cluster.primaries
        for server, policy in ((one, "allkeys-lru"), (other, "volatile-ttl")):
            server.client.config_set("maxmemory-policy", policy)
        third.client.config_set("appendonly", "yes")
        for server in cluster.replicas:
            server.client.config_set("maxmemory-policy", "allkeys-random")
        messages = check(cluster.urls, OPTIONS={"CONNECTION_FACTORY": FACTORY})
        assert [*messages] == ["W005", "W006"]
        assert f"{one.port} has the maxmemory-policy allkeys-lru" in messages["W005"]
        assert f"{other.port} has the maxmemory-policy volatile-ttl" in messages["W005"]
        for server in (third, *cluster.replicas):
            assert not any(str(server.port) in message for message in messages.values())
        assert str(one.port) in messages["W006"] and str(other.port) in messages["W006"]
        one.kill()
        messages = check(cluster.urls, OPTIONS={"CONNECTION_FACTORY": FACTORY})
        assert f"{one.port} can't be reached" in messages.pop("W007")
        assert not any(str(one.port) in message for message in messages.values())
    finally:
        cluster.stop()


def test_a_server_that_is_not_a_cluster(server: ValkeyServer, check: Check) -> None:
    messages = check(server.url, OPTIONS={"CONNECTION_FACTORY": FACTORY})
    assert [*messages] == ["E011"]


def test_the_primary_of_a_sentinel(own_server: OwnServer, check: Check) -> None:
    primary = own_server(*DURABLE, "--maxmemory-policy", "allkeys-lru")
    sentinel = ValkeySentinel(primary)
    sentinel.start()
    messages = check(**sentinel_alias(sentinel.port))
    assert [*messages] == ["W005"]
    assert "Redis service 'main'" in messages["W005"]
    primary.client.config_set("maxmemory-policy", "noeviction")
    assert check(**sentinel_alias(sentinel.port)) == {}
    sentinel.kill()
    assert check(**sentinel_alias(sentinel.port)).keys() == {"W007"}
