"""Servers of Redis whose connections have something to lose if they are opened by halves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


@pytest.fixture(params=["single", pytest.param("sentinel", marks=pytest.mark.costly), "cluster"])
def redis_alias(request: pytest.FixtureRequest, settings: Any) -> str:
    """An alias of CACHES with a small pool: in database 3, or on a cluster."""
    pool = {"max_connections": CONNECTIONS}
    options: dict[str, Any] = {"CONNECTION_POOL_KWARGS": pool, "PASSWORD": PASSWORD}
    if request.param == "single":
        location: Any = f"redis://127.0.0.1:{request.getfixturevalue('guarded').port}/3"
    elif request.param == "sentinel":
        location = "redis://main/3"
        options |= {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [("127.0.0.1", request.getfixturevalue("sentinel").port)],
            "SENTINEL_KWARGS": {},
        }
    else:
        cluster: ValkeyCluster = request.getfixturevalue("shared_cluster")
        location = cluster.urls
        options = {
            "CONNECTION_POOL_KWARGS": pool,
            "CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory",
        }
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": options}
    settings.CACHES = {**settings.CACHES, "persist": alias}
    return "persist"
