"""Valkey servers that are killed under load, behind Sentinel and in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_persist import Store, stores
from tests.conftest import REDIS
from tests.servers.valkey_servers import (
    REPLICATES_AT_ONCE,
    ValkeySentinel,
    ValkeyServer,
    catch_up,
    start,
    start_cluster,
    start_replica,
    wait_for,
)
from tests.writers import writing

pytestmark = pytest.mark.costly


@pytest.fixture
def store(settings: Any) -> Iterator[Any]:
    """Return a function that makes the default store, given LOCATION and OPTIONS of its alias."""
    opened: list[Store] = []

    def open_(location: Any, **options: Any) -> Store:
        backend = "django_redis.cache.RedisCache"
        cache = {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}
        settings.CACHES = {**settings.CACHES, "failover": cache}
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "failover"}}}
        opened.append(stores["default"])
        return opened[-1]

    yield open_
    for each in opened:
        each.driver.close()


@contextmanager
def failing_over(store: Store, primary: ValkeyServer, replica: ValkeyServer) -> Iterator[None]:
    """Kill the primary under load before the block, which has the replica promoted.

    What the replica had is kept, and the same processes write again.
    """
    with writing() as writers:
        writers.read(30)
        known = len(writers.reports)
        catch_up(replica, primary)
        primary.kill()
        writers.read(1, applied=False)
        yield
        writers.read(60)  # by the same processes
        writers.stop()
    # The replica may lack what was acknowledged after that.
    writers.reports[known:] = [
        report._replace(done=None) if report.done else report for report in writers.reports[known:]
    ]
    writers.assert_kept(store)


def test_a_primary_that_sentinel_replaces_under_load_keeps_what_its_replica_had(store: Any) -> None:
    primary = start(*REPLICATES_AT_ONCE)
    replica = start_replica(primary.port)
    sentinel = ValkeySentinel(primary)
    sentinel.start()
    try:
        wait_for(lambda: sentinel.client.sentinel_slaves("main"), "Sentinel")
        sentinel.client.sentinel_set("main", "down-after-milliseconds", 300)
        opened = store(
            "redis://main/0",
            CLIENT_CLASS="django_redis.client.SentinelClient",
            CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
            SENTINELS=[("127.0.0.1", sentinel.port)],
        )
        with failing_over(opened, primary, replica):
            wait_for(lambda: replica.client.info("replication")["role"] == "master", "Failover")
    finally:
        for server in (primary, replica, sentinel):
            server.kill()


def test_a_node_that_a_cluster_replaces_under_load_keeps_what_its_replica_had(store: Any) -> None:
    cluster = start_cluster(3, replicas=1, timeout=60_000)
    [replica] = cluster.replicas
    primary, *others = cluster.primaries
    try:
        factory = "django_persist.cluster.ClusterConnectionFactory"
        opened = store(cluster.urls, CONNECTION_FACTORY=factory)
        with failing_over(opened, primary, replica):
            for server in (*others, replica):  # Now they notice it.
                server.client.config_set("cluster-node-timeout", 500)
            wait_for(lambda: replica.client.info("replication")["role"] == "master", "Failover")
    finally:
        cluster.stop()
