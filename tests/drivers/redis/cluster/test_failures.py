"""RedisDriver on a Redis Cluster that loses nodes."""

from __future__ import annotations

from typing import Any

import pytest
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from django_persist.drivers.base import Write
from django_persist.exceptions import (
    InvalidStoreError,
    StoreUnavailableError,
)
from tests.drivers.redis.cluster.conftest import MINUTE, MakeDriver, key_on, name
from tests.proxy import Fault, Proxy
from tests.redis_servers import (
    ValkeyCluster,
    ValkeyServer,
    start,
    start_cluster,
    wait_for,
)


class TestFailures:
    def test_a_killed_node_and_its_replica(self, make_driver: MakeDriver) -> None:
        cluster = start_cluster(3, replicas=1)
        try:
            victim, healthy = cluster.primaries[0], cluster.primaries[1]
            replica = cluster.replicas[0]
            driver = make_driver(cluster.urls)
            lost, kept = key_on(driver, cluster, victim), key_on(driver, cluster, healthy)
            driver.set_many([Write(lost, b"1", MINUTE), Write(kept, b"1", MINUTE)])
            victim.client.wait(1, 1000)
            victim.kill()
            for call in (
                lambda: driver.get(lost),
                lambda: driver.create(lost, b"2", None),
                lambda: driver.incr(lost, 1, MINUTE),
                lambda: driver.get_many([lost, kept]),
                lambda: list(driver.keys("")),
            ):
                healthy.client.script_flush()
                with pytest.raises(StoreUnavailableError) as caught:
                    call()
                assert not caught.value.maybe_applied
                assert driver.incr(kept, 1, MINUTE)
            with pytest.raises(StoreUnavailableError) as caught:
                driver.remove_many([kept, lost])
            assert caught.value.maybe_applied  # One of the two has gone.
            assert not driver.contains(kept)
            driver.set_many([Write(kept, b"1", MINUTE)])
            # Another process starts while the first of its nodes is down.
            late = make_driver(cluster.urls)
            assert late.get(kept) == b"1"

            replica.run("CLUSTER FAILOVER", "TAKEOVER")
            wait_for(lambda: replica.client.info("replication")["role"] == "master", "Failover")
            wait_for(
                lambda: cluster.owner(key_slot(name(driver, lost))) is replica, "The news of it"
            )
            wait_for(lambda: served(healthy, replica), "The news of it")
            assert driver.get(lost) == b"1"
            assert late.incr(lost, 1, MINUTE) == 2
            assert driver.get_many([lost, kept]) == {lost: b"2", kept: b"1"}
            assert sorted(driver.keys("")) == sorted([lost, kept])
        finally:
            cluster.stop()

    @pytest.mark.parametrize("expires", [None, MINUTE], ids=["command", "script"])
    def test_a_write_whose_reply_is_lost_is_sent_once(
        self, cluster: ValkeyCluster, make_driver: MakeDriver, expires: Any
    ) -> None:
        proxies = {server.port: Proxy(server.port) for server in cluster.primaries}
        driver = make_driver(
            cluster.urls,
            REDIS_CLIENT_KWARGS={
                "address_remap": lambda address: (address[0], proxies[address[1]].port),
                "retry": Retry(NoBackoff(), 5),
            },
            CONNECTION_POOL_KWARGS={"retry_on_timeout": True, "decode_responses": True},
        )
        driver.incr("k", 1, expires)
        for proxy in proxies.values():
            proxy.strike(Fault.BETWEEN)
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, expires)
        assert caught.value.maybe_applied
        assert driver.get("k") == b"2"
        writes = [Write(f"n{i}", b"1", None) for i in range(100)]
        driver.set_many(writes)
        for proxy in proxies.values():
            proxy.strike(Fault.BETWEEN)
        with pytest.raises(StoreUnavailableError) as caught:
            driver.set_many(writes)
        assert caught.value.maybe_applied
        for proxy in proxies.values():
            proxy.close()

    def test_no_node_is_there(self, make_driver: MakeDriver) -> None:
        driver = make_driver(["redis://127.0.0.1:1", "redis://127.0.0.1:2"])
        for call in (
            lambda: driver.set("k", b"1", None),
            lambda: driver.set_many([Write("k", b"1", None)]),
            lambda: driver.count(""),
        ):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, StoreUnavailableError)

    def test_the_first_of_its_nodes_is_down(
        self, cluster: ValkeyCluster, make_driver: MakeDriver
    ) -> None:
        driver = make_driver(["redis://127.0.0.1:1", cluster.urls[0]])
        driver.set("k", b"1", None)
        assert driver.get("k") == b"1"

    def test_a_server_that_is_no_cluster(self, make_driver: MakeDriver) -> None:
        server = start()
        try:
            with pytest.raises(InvalidStoreError, match="not a node"):
                make_driver(server.url).get("k")
        finally:
            server.kill()


def served(server: ValkeyServer, owner: ValkeyServer) -> bool:
    """Return whether the server knows that the owner has slots."""
    slots = server.run("CLUSTER SLOTS")
    return any(port == owner.port for _, _, (_, port, *_), *_ in slots)
