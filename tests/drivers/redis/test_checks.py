"""What `manage.py check --deploy` says of Redis servers: those that may evict, or forget."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command

from tests.conftest import REDIS
from tests.drivers.redis.cluster.conftest import FACTORY
from tests.drivers.redis.conftest import DJANGO_REDIS
from tests.drivers.redis.test_sentinel import alias as sentinel_alias
from tests.servers.valkey_servers import ValkeySentinel, ValkeyServer, start_cluster

Told = Callable[..., dict[str, str]]
OwnServer = Callable[..., ValkeyServer]

FIT = ("--appendonly", "yes")


@pytest.fixture
def told(settings: Any) -> Told:
    """Return a function that checks a store over an alias; what is said, by its id."""

    def told_(location: Any, *, deploy: bool = True, **alias: Any) -> dict[str, str]:
        alias = {"BACKEND": DJANGO_REDIS, "LOCATION": location, **alias}
        settings.CACHES = {**settings.CACHES, "persist": alias}
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "persist"}}}
        messages = checks.run_checks(tags=["django_persist"], include_deployment_checks=deploy)
        assert all(message.hint for message in messages)
        assert not any("hush" in str(message) for message in messages)
        return {str(m.id).removeprefix("django_persist."): m.msg for m in messages}

    return told_


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (FIT, []),
        (("--save", "3600 1"), []),
        ((), ["W006"]),
        ((*FIT, "--maxmemory-policy", "allkeys-lru"), ["W005"]),
        ((*FIT, "--maxmemory-policy", "volatile-ttl"), ["W005"]),
        (("--maxmemory-policy", "allkeys-random"), ["W005", "W006"]),
    ],
)
def test_one_server(
    own_server: OwnServer, told: Told, options: tuple[str, ...], ids: list[str]
) -> None:
    server = own_server(*options)
    said = told(server.url)
    assert [*said] == ids
    assert all("CACHES['persist']" in message for message in said.values())
    assert all(f"Redis at 127.0.0.1:{server.port}" in message for message in said.values())
    if "W005" in said:
        assert options[-1] in said["W005"]
    asked = server.client.info("commandstats")["cmdstat_info"]["calls"]
    assert told(server.url, deploy=False) == {}
    assert server.client.info("commandstats")["cmdstat_info"]["calls"] == asked + 1  # That one.


def test_a_user_who_may_not_ask_it_all(own_server: OwnServer, told: Told) -> None:
    server = own_server("--maxmemory-policy", "allkeys-lru")
    url = f"redis://web:hush@127.0.0.1:{server.port}/0"
    for allowed, ids in ((["+@all", "-config"], ["W005"]), (["+@read"], ["W007"])):
        server.run("ACL SETUSER", "web", "reset", "on", ">hush", "~*", *allowed)
        assert [*told(url)] == ids


def test_a_server_that_does_not_answer(own_server: OwnServer, told: Told) -> None:
    server = own_server("--maxmemory-policy", "allkeys-lru")
    server.client.config_set("requirepass", "hush")
    assert "Authentication required" in told(server.url)["W007"]
    assert told(f"redis://:hush@127.0.0.1:{server.port}").keys() == {"W005", "W006"}
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert "Timeout" in told(server.url, OPTIONS={"SOCKET_TIMEOUT": 0.2})["W007"]
    assert time.monotonic() - started < 3
    server.kill()
    assert "can't be reached" in told(server.url)["W007"]
    call_command("check", deploy=True, tags=["django_persist"], stdout=StringIO())


def test_a_cluster(told: Told) -> None:
    cluster = start_cluster(3, replicas=1)
    try:
        one, other, third = cluster.primaries
        for server, policy in ((one, "allkeys-lru"), (other, "volatile-ttl")):
            server.client.config_set("maxmemory-policy", policy)
        third.client.config_set("appendonly", "yes")
        for server in cluster.replicas:
            server.client.config_set("maxmemory-policy", "allkeys-random")
        said = told(cluster.urls, OPTIONS={"CONNECTION_FACTORY": FACTORY})
        assert [*said] == ["W005", "W006"]
        assert f"{one.port} has the maxmemory-policy allkeys-lru" in said["W005"]
        assert f"{other.port} has the maxmemory-policy volatile-ttl" in said["W005"]
        for server in (third, *cluster.replicas):
            assert not any(str(server.port) in message for message in said.values())
        assert str(one.port) in said["W006"] and str(other.port) in said["W006"]
        one.kill()
        said = told(cluster.urls, OPTIONS={"CONNECTION_FACTORY": FACTORY})
        assert f"{one.port} can't be reached" in said.pop("W007")
        assert not any(str(one.port) in message for message in said.values())
    finally:
        cluster.stop()


def test_a_server_that_is_no_cluster(server: ValkeyServer, told: Told) -> None:
    said = told(server.url, OPTIONS={"CONNECTION_FACTORY": FACTORY})
    assert [*said] == ["E011"]


def test_the_primary_of_a_sentinel(own_server: OwnServer, told: Told) -> None:
    primary = own_server(*FIT, "--maxmemory-policy", "allkeys-lru")
    sentinel = ValkeySentinel(primary)
    sentinel.start()
    said = told(**_alias(sentinel))
    assert [*said] == ["W005"]
    assert "Redis service 'main'" in said["W005"]
    primary.client.config_set("maxmemory-policy", "noeviction")
    assert told(**_alias(sentinel)) == {}
    sentinel.kill()
    assert told(**_alias(sentinel)).keys() == {"W007"}


def _alias(sentinel: ValkeySentinel) -> dict[str, Any]:
    alias = sentinel_alias(sentinel.port)
    return {"location": alias["LOCATION"], "OPTIONS": alias["OPTIONS"]}
