"""Servers of Redis whose connections have something to lose if they are opened by halves."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import redis

from tests.servers.valkey_servers import (
    ValkeyCluster,
    ValkeySentinel,
    ValkeyServer,
    start,
    wait_for,
)

PASSWORD = "secret of the tests"
CONNECTIONS = 5


@pytest.fixture(scope="session")
def guarded() -> Iterator[ValkeyServer]:
    """A server with a password."""
    server = start("--repl-diskless-sync-delay", "0")
    server.client.config_set("masterauth", PASSWORD)
    server.client.config_set("requirepass", PASSWORD)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sentinel(guarded: ValkeyServer) -> Iterator[ValkeySentinel]:
    server = ValkeySentinel(guarded)
    server.start()
    client: Any = redis.Redis(port=server.port)
    client.execute_command("SENTINEL", "SET", "main", "auth-pass", PASSWORD)
    wait_for(lambda: client.sentinel_masters()["main"]["flags"] == "master", "Sentinel")
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def quiet_destructors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop what is raised in a destructor, and the warning of what Python had to close.

    An interruption can be the one, and cause the other. pytest's hook would be interrupted itself.
    """
    monkeypatch.setattr(sys, "unraisablehook", deque[object](maxlen=0).append)


CountInterruptions: TypeAlias = Callable[[str, str, int], None]


@pytest.fixture
def count_interruptions(record_property: Callable[[str, object], None]) -> CountInterruptions:
    """Return a function that notes how many calls of a driver were interrupted by what.

    A run lists the sums at its end.
    """
    return lambda kind, driver, number: record_property("interrupted", (kind, driver, number))


def behind(sentinel: ValkeySentinel, **pool: Any) -> dict[str, Any]:
    """Return an alias of CACHES for database 3 of the server that a Sentinel names."""
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://main/3",
        "OPTIONS": {
            "CONNECTION_POOL_KWARGS": pool,
            "PASSWORD": PASSWORD,
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [("127.0.0.1", sentinel.port)],
            "SENTINEL_KWARGS": {},
        },
    }


@pytest.fixture(params=["single", pytest.param("sentinel", marks=pytest.mark.costly), "cluster"])
def redis_alias(request: pytest.FixtureRequest, settings: Any) -> str:
    """An alias of CACHES with a small pool: in database 3, or on a cluster."""
    pool = {"max_connections": CONNECTIONS}
    alias: dict[str, Any] = {"BACKEND": "django_redis.cache.RedisCache"}
    if request.param == "single":
        alias["LOCATION"] = f"redis://127.0.0.1:{request.getfixturevalue('guarded').port}/3"
        alias["OPTIONS"] = {"CONNECTION_POOL_KWARGS": pool, "PASSWORD": PASSWORD}
    elif request.param == "sentinel":
        alias = behind(request.getfixturevalue("sentinel"), **pool)
    else:
        cluster: ValkeyCluster = request.getfixturevalue("shared_cluster")
        alias["LOCATION"] = cluster.urls
        alias["OPTIONS"] = {
            "CONNECTION_POOL_KWARGS": pool,
            "CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory",
        }
    settings.CACHES = {**settings.CACHES, "persist": alias}
    return "persist"
