"""A Redis Cluster of three nodes, and drivers that talk to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from redis.crc import key_slot

from django_persist.drivers.redis import RedisDriver
from tests.servers.valkey_servers import ValkeyCluster, ValkeyServer

FACTORY = "django_persist.cluster.ClusterConnectionFactory"
MINUTE = timedelta(minutes=1)

MakeDriver = Callable[..., RedisDriver]


@pytest.fixture
def cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    for server in shared_cluster.primaries:
        server.client.flushall()
    return shared_cluster


@pytest.fixture
def make_driver(make_driver: MakeDriver) -> MakeDriver:
    """Return a function that makes a driver, given the LOCATION and OPTIONS of its alias."""

    def make(location: Any, **options: Any) -> RedisDriver:
        return make_driver(location, OPTIONS={"CONNECTION_FACTORY": FACTORY, **options})

    return make


@pytest.fixture
def driver(cluster: ValkeyCluster, make_driver: MakeDriver) -> RedisDriver:
    return make_driver(cluster.urls)


def name(driver: RedisDriver, key: str) -> bytes:
    return (driver.prefix + key).encode()


def key_on(driver: RedisDriver, cluster: ValkeyCluster, server: ValkeyServer) -> str:
    """Return a key that is stored on the server."""
    return next(
        f"k{i}" for i in range(1000) if cluster.owner(key_slot(name(driver, f"k{i}"))) is server
    )


def count_reads(server: ValkeyServer) -> int:
    """Return how many times the server has read from a client, this time included."""
    return int(server.client.info("stats")["total_reads_processed"])
