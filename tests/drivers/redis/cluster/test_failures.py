"""RedisDriver on a Redis Cluster that loses nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import count, product

import pytest
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from django_persist.drivers.redis.scripts import TEXTS
from django_persist.exceptions import (
    InvalidStoreError,
    StoreUnavailableError,
)
from tests.drivers.redis.calls import CALLS, prepare
from tests.drivers.redis.cluster.conftest import MINUTE, MakeDriver, key_on, name
from tests.drivers.redis.conftest import count_commands, retry_on_timeout
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import (
    ValkeyCluster,
    ValkeyServer,
    catch_up,
    start,
    start_cluster,
    wait_for,
)

LOSING = (
    *("get", "get_item", "get_many", "create", "set", "set, moment", "touch"),
    *("incr", "incr, lifetime", "replace", "remove_if", "set_many", "remove_many"),
)


class TestFailures:
    def test_a_killed_node_and_its_replica(self, make_driver: MakeDriver) -> None:
        """The nodes elect the replica, without help from the test."""
        cluster = start_cluster(3, replicas=1, timeout=60_000)
        try:
            victim, healthy = cluster.primaries[:2]
            replica = cluster.replicas[0]
            driver = make_driver(cluster.urls)
            lost, kept = key_on(driver, cluster, victim), key_on(driver, cluster, healthy)
            stored = {f"k{i}": b"1" for i in range(1_000)}
            driver.set_many([(key, value, MINUTE) for key, value in stored.items()])
            safe = {key for key in stored if cluster.owner(slot(driver, key)) is not victim}
            catch_up(replica, victim)
            victim.kill()
            assert_only_its_keys_fail(driver, healthy, lost, kept, sorted(safe))
            with pytest.raises(StoreUnavailableError) as caught:
                driver.remove_many([kept, lost])
            assert caught.value.maybe_applied  # One of the two was removed.
            assert not driver.contains(kept)
            driver.set_many([(kept, b"2", MINUTE)])
            # As another process that starts while its first seed is down.
            late = make_driver(cluster.urls)
            assert late.get(kept) == b"2"

            for server in (*cluster.primaries[1:], replica):  # Now they notice the failure.
                server.client.config_set("cluster-node-timeout", 500)
            tries = until_it_works(lambda: driver.incr(lost, 1, MINUTE))
            assert tries > 1
            assert replica.client.get(name(driver, lost)) == b"2"
            stored |= {lost: b"2", kept: b"2"}
            assert dict(driver.get_many(list(stored))) == stored
            assert late.incr(lost, 1, MINUTE) == 3
            driver.set_many([(key, b"3", None) for key in stored])

            victim.start()  # It becomes a replica of its former replica.
            wait_for(
                lambda: victim.client.info("replication")["role"] == "slave", "The old primary"
            )
            wait_for(
                lambda: victim.client.info("replication")["master_link_status"] == "up", "The copy"
            )
            assert sorted(driver.keys("")) == sorted(stored)
            assert dict(late.get_many(list(stored))) == dict.fromkeys(stored, b"3")
            assert {key: item.value for key, item in late.items("")} == dict.fromkeys(stored, b"3")
            assert Store(driver).clear() == len(stored)
        finally:
            cluster.stop()

    def test_a_node_that_is_stopped(self, cluster: ValkeyCluster, make_driver: MakeDriver) -> None:
        """Each call for its keys waits for one timeout. Other calls work."""
        stuck, healthy, other = cluster.primaries
        driver = make_driver(cluster.urls, SOCKET_TIMEOUT=0.15)
        keys = {server: key_on(driver, cluster, server) for server in cluster.primaries}
        retry_on_timeout(lambda: driver.set_many([(key, b"1", None) for key in keys.values()]))
        both = [keys[healthy], keys[other]]
        assert stuck.process is not None
        os.kill(stuck.process.pid, signal.SIGSTOP)
        try:
            for call, writes in (
                (lambda: driver.incr(keys[stuck], 1, None), True),
                (lambda: driver.get(keys[stuck]), False),
                (lambda: dict(driver.get_many(list(keys.values()))), False),
                (lambda: driver.set(keys[stuck], b"2", None), False),  # It is not even sent.
                (lambda: driver.count(""), False),
            ):
                started = time.monotonic()
                with pytest.raises(StoreUnavailableError) as caught:
                    call()
                assert time.monotonic() - started < 1.5
                assert caught.value.maybe_applied is writes
                assert retry_on_timeout(lambda: dict(driver.get_many(both))) == dict.fromkeys(
                    both, b"1"
                )
                retry_on_timeout(lambda: driver.set_many([(key, b"1", None) for key in both]))
        finally:
            os.kill(stuck.process.pid, signal.SIGCONT)
        wait_for(stuck.client.ping, "The node")
        assert retry_on_timeout(lambda: driver.get(keys[stuck])) in (b"1", b"2")
        assert retry_on_timeout(lambda: driver.count("")) == 3

    def test_a_reply_that_is_lost(self, cluster: ValkeyCluster, make_driver: MakeDriver) -> None:
        """Nothing is sent twice, whatever the options of the alias are."""
        proxies = {server.port: Proxy(server.port) for server in cluster.primaries}
        driver = make_driver(
            cluster.urls,
            REDIS_CLIENT_KWARGS={
                "address_remap": lambda address: (address[0], proxies[address[1]].port),
                "retry": Retry(NoBackoff(), 5),
            },
            CONNECTION_POOL_KWARGS={"retry_on_timeout": True, "decode_responses": True},
        )
        for server, text in product(cluster.primaries, TEXTS.values()):
            server.client.script_load(text)
        for call_name in LOSING:
            call = CALLS[call_name]
            key = "new" if call_name.startswith("create") else "k"
            proxy = proxies[cluster.owner(slot(driver, key)).port]
            prepare(driver)
            before = count_all_commands(cluster)
            call.run(driver)
            once = count_all_commands(cluster) - before
            prepare(driver)
            before = count_all_commands(cluster)
            proxy.strike(Fault.BETWEEN)
            with pytest.raises(StoreUnavailableError) as caught:
                call.run(driver)
            assert caught.value.maybe_applied is call.writes, call_name
            assert 0 < count_all_commands(cluster) - before <= once, call_name
            driver.set("beside", call_name.encode(), None)
            assert driver.get("beside") == call_name.encode()
        for proxy in proxies.values():
            proxy.close()

    def test_no_node_can_be_reached(self, make_driver: MakeDriver) -> None:
        driver = make_driver(["redis://127.0.0.1:1", "redis://127.0.0.1:2"])
        for call in (
            lambda: driver.set("k", b"1", None),
            lambda: driver.set_many([("k", b"1", None)]),
            lambda: driver.count(""),
        ):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, StoreUnavailableError)

    def test_the_first_seed_is_down(self, cluster: ValkeyCluster, make_driver: MakeDriver) -> None:
        driver = make_driver(["redis://127.0.0.1:1", cluster.urls[0]])
        driver.set("k", b"1", None)
        assert driver.get("k") == b"1"

    def test_a_server_that_is_not_a_cluster(self, make_driver: MakeDriver) -> None:
        server = start()
        try:
            with pytest.raises(InvalidStoreError, match="not a node"):
                make_driver(server.url).get("k")
        finally:
            server.kill()


def slot(driver: RedisDriver, key: str) -> int:
    return key_slot(name(driver, key))


def count_all_commands(cluster: ValkeyCluster) -> int:
    """Return how many commands for entries the servers have run."""
    return sum(sum(count_commands(server).values()) for server in cluster.primaries)


def assert_only_its_keys_fail(
    driver: RedisDriver, healthy: ValkeyServer, lost: str, kept: str, safe: list[str]
) -> None:
    """Calls for keys of a dead node fail, and calls for other keys between them work."""
    for call in (
        lambda: driver.get(lost),
        lambda: driver.create(lost, b"2", None),
        lambda: driver.incr(lost, 1, MINUTE),
        lambda: dict(driver.get_many([lost, kept])),
        lambda: list(driver.keys("")),
    ):
        healthy.client.script_flush()
        with pytest.raises(StoreUnavailableError) as caught:
            call()
        assert not caught.value.maybe_applied
        assert driver.incr(kept, 1, MINUTE)
        driver.set_many([(key, b"1", MINUTE) for key in safe])
        assert dict(driver.get_many(safe)) == dict.fromkeys(safe, b"1")
        assert driver.remove_many([*safe, "absent"][:3]) == 3
        driver.set_many([(key, b"1", MINUTE) for key in safe])


def until_it_works(call: Callable[[], object]) -> int:
    """Repeat a call that certainly had no effect until it works. Return the number of calls."""
    end = time.monotonic() + 20
    for tries in count(1):
        try:
            call()
            return tries
        except StoreUnavailableError as error:
            assert not error.maybe_applied
            assert time.monotonic() < end
            time.sleep(0.02)
    raise AssertionError
