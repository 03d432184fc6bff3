"""RedisDriver on a Redis Cluster where some nodes have an old map of the slots, or none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.cluster.conftest import MINUTE, MakeDriver, key_on, name
from tests.servers.valkey_servers import (
    CALM,
    ValkeyCluster,
    ValkeyServer,
    start_cluster,
    wait_for,
)

pytestmark = pytest.mark.costly

TAGS = ("{a}", "{b}", "{c}")
KEYS = [f"k{i}" for i in range(300)]


def check_all(driver: RedisDriver, values: dict[str, bytes]) -> None:
    """Read all entries in each way, change them, and change them back, without any error."""
    shuffled = random.sample(list(values), len(values))
    assert {key: driver.get(key) for key in shuffled[:50]} == {k: values[k] for k in shuffled[:50]}
    assert dict(driver.get_many(shuffled)) == values
    assert {key: item.value for key, item in driver.items("")} == values
    assert driver.count("") == len(values)
    for key in shuffled[:50]:
        assert not driver.create(key, b"another", None)
        assert driver.remove(key)
        assert driver.incr(key, 7, MINUTE) == 7
        driver.set(key, values[key], None)
    assert driver.remove_many(shuffled) == len(values)
    driver.set_many([(key, value, None) for key, value in values.items()])
    assert dict(driver.get_many(shuffled)) == values


@pytest.fixture
def removed(cluster: ValkeyCluster, driver: RedisDriver) -> Iterator[Callable[[], ValkeyServer]]:
    """Return a function that takes a node of three slots out of the cluster, and lets it run."""
    slots = [key_slot(name(driver, tag)) for tag in TAGS]
    homes = [cluster.owner(slot) for slot in slots]
    server = cluster.add()
    for slot in slots:
        cluster.move(slot, server)

    def remove() -> ValkeyServer:
        for slot, home in zip(slots, homes, strict=True):
            cluster.move(slot, home)
        cluster.primaries.remove(server)
        for each in cluster.primaries:
            each.run("CLUSTER FORGET", server.node_id)
        server.run("CLUSTER RESET")
        return server

    yield remove
    server.kill()


def test_a_node_that_was_removed_and_still_runs(
    removed: Callable[[], ValkeyServer], make_driver: MakeDriver, cluster: ValkeyCluster
) -> None:
    drivers = [make_driver(cluster.urls[::-1]) for _ in range(6)]
    values = {f"{tag}{key}": b"1" for tag in TAGS for key in KEYS[:30]}
    drivers[0].set_many([(key, value, None) for key, value in values.items()])
    for driver in drivers:  # Each knows from now on that the node has the slots.
        assert driver.count("") == 90
    server = removed()
    for first_call in (
        lambda driver: driver.get("{a}k0") == b"1",
        lambda driver: driver.incr("{a}k0", 0, MINUTE) == 1,
        lambda driver: dict(driver.get_many(list(values))) == values,
        lambda driver: driver.set_many([(key, b"1", None) for key in values]) is None,
        lambda driver: driver.count("") == 90,
        lambda driver: driver.remove_many(["{a}k0", "{b}k0"]) == 2,
    ):
        assert first_call(drivers[0])
        drivers[0].set_many([(key, b"1", None) for key in values])
        check_all(drivers.pop(0), values)
    # A process that starts asks it first, too.
    check_all(make_driver([server.url, *cluster.urls]), values)


@pytest.fixture
def own_cluster() -> Iterator[ValkeyCluster]:
    cluster = start_cluster(3, replicas=1, timeout=60_000)
    yield cluster
    for server in cluster.servers:
        server.kill()


def cut_off(cluster: ValkeyCluster, server: ValkeyServer) -> None:
    """Let a node of the cluster neither reach the others nor hear them. Clients reach it."""
    server.run("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)  # All of them.
    server.client.config_set("bind-source-addr", "192.0.2.1")  # No address of this machine.
    for other in cluster.servers:
        if other is not server:
            server.run("DEBUG", "CLUSTERLINK", "KILL", "ALL", other.node_id)


def set_node_timeout(cluster: ValkeyCluster, milliseconds: int) -> None:
    for server in cluster.servers:
        server.client.config_set("cluster-node-timeout", milliseconds)


def test_a_primary_that_is_cut_off_from_the_others(
    own_cluster: ValkeyCluster, make_driver: MakeDriver
) -> None:
    primary, replica = own_cluster.primaries[0], own_cluster.replicas[0]
    running = [make_driver(own_cluster.urls) for _ in range(4)]
    values = dict.fromkeys(KEYS, b"1")
    running[0].set_many([(key, value, None) for key, value in values.items()])
    for driver in running:
        assert driver.count("") == len(values)
    primary.client.wait(1, 5000)
    cut_off(own_cluster, primary)
    set_node_timeout(own_cluster, 500)
    wait_for(lambda: replica.client.info("replication")["role"] == "master", "The failover")
    wait_for(lambda: primary.run("CLUSTER INFO")["cluster_state"] == "fail", "The old primary")
    set_node_timeout(own_cluster, CALM)
    wait_for(lambda: replica.run("CLUSTER INFO")["cluster_state"] == "ok", "The new primary")
    key = key_on(running[0], own_cluster, primary)
    others: Any = [server.url for server in (*own_cluster.primaries[1:], replica)]
    values[key] = b"2"
    make_driver(others).set(key, b"2", None)  # The old primary still has the old value.
    for first_call in (
        lambda driver: driver.get(key) == b"2",
        lambda driver: driver.incr(key, 1, MINUTE) == 3,
        lambda driver: dict(driver.get_many(KEYS)) == values,
        lambda driver: dict(driver.items(key))[key].value == b"2",
    ):
        assert first_call(running[0])
        running[0].set(key, b"2", None)
        check_all(running.pop(0), values)
    for urls in (own_cluster.urls, [primary.url], [primary.url, *others]):
        started = make_driver(urls)
        assert {key: item.value for key, item in started.items("")} == values
        check_all(make_driver(urls), values)


def test_only_nodes_that_are_cut_off_can_be_reached(
    own_cluster: ValkeyCluster, make_driver: MakeDriver
) -> None:
    """They refuse commands for keys by themselves. A listing must not show what they have."""
    primary, *others = own_cluster.servers
    driver = make_driver([primary.url])
    key = key_on(driver, own_cluster, primary)
    driver.set(key, b"1", None)
    set_node_timeout(own_cluster, 500)
    for server in others:
        server.kill()
    wait_for(lambda: primary.run("CLUSTER INFO")["cluster_state"] == "fail", "The primary")
    for call in (
        lambda: driver.get(key),
        lambda: driver.set_many([(key, b"2", None)]),
        lambda: driver.count(""),
        lambda: make_driver([primary.url]).get(key),
        lambda: list(make_driver([primary.url]).keys("")),
    ):
        with pytest.raises(StoreUnavailableError, match="(?i)down") as caught:
            call()
        assert not caught.value.maybe_applied


@pytest.fixture
def user_of(cluster: ValkeyCluster) -> Iterator[Callable[..., Any]]:
    """Return a function that gives the user "web" its permissions on a node."""

    def set_user(server: ValkeyServer, *permissions: str) -> None:
        server.run("ACL", "SETUSER", "web", "reset", "on", ">hush", "~*", *permissions)

    yield set_user
    for server in cluster.primaries:
        server.run("ACL", "DELUSER", "web")


def test_a_user_who_may_not_ask_for_the_state_of_the_cluster(
    cluster: ValkeyCluster, make_driver: MakeDriver, user_of: Callable[..., Any]
) -> None:
    for server in cluster.primaries:
        user_of(server, "+@all", "-cluster|info")
    driver = make_driver(cluster.urls, USERNAME="web", PASSWORD="hush")
    driver.set_many([(key, b"1", None) for key in KEYS])
    check_all(driver, dict.fromkeys(KEYS, b"1"))


class TestHalfWritten:
    """What ends a call of many keys says whether it was carried out for some of them."""

    def test_one_node_has_other_permissions(
        self, cluster: ValkeyCluster, make_driver: MakeDriver, user_of: Callable[..., Any]
    ) -> None:
        for server in cluster.primaries:
            user_of(server, "+@all")
        *_, last = cluster.primaries
        user_of(last, "+@all", "-set", "-unlink")
        driver = make_driver(cluster.urls, USERNAME="web", PASSWORD="hush")
        admin = make_driver(cluster.urls)
        keys = [f"k{i}" for i in range(1_000)]
        for call, stored in (
            (lambda: driver.set_many([(key, b"1", None) for key in keys]), []),
            (lambda: driver.create_many([(key, b"1", None) for key in keys]), []),
            (lambda: driver.remove_many(keys), keys),
        ):
            admin.remove_many(keys)
            admin.set_many([(key, b"0", None) for key in stored])
            with pytest.raises(redis.ResponseError, match="(?i)permission") as caught:
                call()
            error: Any = caught.value
            assert error.maybe_applied
            assert "carried out for some" in error.__notes__[0]
            assert 0 < admin.count("") < len(keys)
        denied = [key for key in keys if cluster.owner(key_slot(name(driver, key))) is last]
        before = admin.count("")
        with pytest.raises(redis.ResponseError, match="(?i)permission") as caught:
            driver.set_many([(key, b"1", None) for key in denied])
        assert not getattr(caught.value, "maybe_applied", False)
        assert admin.count("") == before

    def test_a_node_that_has_no_memory_left(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> None:
        *_, last = cluster.primaries
        last.client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailableError, match="memory") as caught:
                driver.set_many([(key, b"1", None) for key in KEYS])
            assert caught.value.maybe_applied
            denied = [key for key in KEYS if cluster.owner(key_slot(name(driver, key))) is last]
            with pytest.raises(StoreUnavailableError, match="memory") as caught:
                driver.set_many([(key, b"1", None) for key in denied])
            assert not caught.value.maybe_applied
        finally:
            last.client.config_set("maxmemory", 0)
