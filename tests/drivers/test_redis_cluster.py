"""RedisDriver on a Redis Cluster, and the factory that django-redis needs for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from django_persist.drivers import redis_cluster
from django_persist.drivers.base import Write
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    InvalidExpiryError,
    InvalidStoreError,
    StoreUnavailableError,
)
from tests.redis_servers import (
    Proxy,
    ValkeyCluster,
    ValkeyServer,
    start,
    start_cluster,
    wait_for,
)

FACTORY = "django_persist.cluster.ClusterConnectionFactory"
MINUTE = timedelta(minutes=1)

MakeDriver = Callable[..., RedisDriver]


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[ValkeyCluster]:
    cluster = start_cluster(3)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    for server in shared_cluster.primaries:
        server.client.flushall()
    return shared_cluster


@pytest.fixture
def make_driver(settings: Any) -> MakeDriver:
    def make(location: Any, **options: Any) -> RedisDriver:
        alias = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": location,
            "OPTIONS": {"CONNECTION_FACTORY": FACTORY, **options},
        }
        settings.CACHES = {**settings.CACHES, "persist": alias}
        return RedisDriver(cache="persist")

    return make


@pytest.fixture
def driver(cluster: ValkeyCluster, make_driver: MakeDriver) -> RedisDriver:
    return make_driver(cluster.urls)


def name(driver: RedisDriver, key: str) -> bytes:
    return (driver.prefix + key).encode()


def key_on(driver: RedisDriver, cluster: ValkeyCluster, server: ValkeyServer) -> str:
    """Return a key whose slot the server has."""
    return next(
        f"k{i}" for i in range(1000) if cluster.owner(key_slot(name(driver, f"k{i}"))) is server
    )


def sent(server: ValkeyServer) -> int:
    """Return how many times the server has read from a client."""
    return int(server.client.info("stats")["total_reads_processed"])


class TestEntries:
    def test_one_key(self, driver: RedisDriver) -> None:
        ends = datetime(2100, 1, 1, tzinfo=UTC)
        for i in range(50):  # Over many slots.
            key = f"k{i}"
            assert driver.create(key, b"1", None)
            assert not driver.create(key, b"1", ends)
            assert driver.touch(key, ends)
            driver.set(key, b"2", MINUTE, keep=True)
            assert driver.get_item(key) == (b"2", ends)
            assert driver.incr(key, 40, MINUTE) == 42
            assert driver.replace(key, b"42", b"\xff", None)
            assert driver.get(key) == b"\xff"
            assert driver.remove_if(key, b"\xff")
            assert not driver.contains(key)
        with pytest.raises(InvalidExpiryError):
            driver.create("k", b"1", datetime(2000, 1, 1, tzinfo=UTC))
        assert list(driver.keys("")) == []

    def test_ten_thousand(self, cluster: ValkeyCluster, driver: RedisDriver) -> None:
        entries = {f"k{i}": b"%d" % i for i in range(10_000)}
        driver.set_many([Write(key, value, MINUTE) for key, value in entries.items()])
        assert all(server.client.dbsize() > 2_000 for server in cluster.primaries)
        assert driver.get_many([*entries, "absent"]) == entries
        assert sorted(driver.keys("")) == sorted(entries)
        assert {key: item.value for key, item in driver.items("")} == entries
        assert driver.count("k99") == 111
        assert driver.remove_many([*entries, "absent"]) == 10_000
        assert driver.count("") == 0

    def test_about_one_round_trip_for_each_node(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> None:
        keys = [f"k{i}" for i in range(1_000)]
        driver.set_many([Write(key, b"1", None) for key in keys])
        before = [sent(server) for server in cluster.primaries]
        assert len(driver.get_many(keys)) == 1_000
        for server, count in zip(cluster.primaries, before, strict=True):
            # One batch can take a few reads, as can the client that counts; a key each is 333.
            assert sent(server) - count < 20

    def test_one_slot_is_all_or_nothing(self, driver: RedisDriver) -> None:
        assert not driver.supports_atomic_set_many
        passed = datetime(2000, 1, 1, tzinfo=UTC)
        with pytest.raises(InvalidExpiryError):
            driver.set_many([Write("{a}1", b"1", None), Write("{a}2", b"2", passed)])
        assert driver.get_many(["{a}1", "{a}2"]) == {}
        driver.set_many([Write("{a}1", b"1", None), Write("{a}2", b"2", None)])
        assert driver.get_many(["{a}1", "{a}2"]) == {"{a}1": b"1", "{a}2": b"2"}

    def test_scripts_that_the_servers_lost(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> None:
        for _ in range(2):
            for server in cluster.primaries:
                server.client.script_flush()
            driver.set_many([Write(f"k{i}", b"1", None) for i in range(300)])
        assert driver.count("") == 300

    def test_threads(self, driver: RedisDriver) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda i: driver.incr(f"k{i % 7}", 1, MINUTE), range(700)))
        assert driver.get_many([f"k{i}" for i in range(7)]) == {f"k{i}": b"100" for i in range(7)}


class TestMovingSlots:
    """Slot by slot, as an operator moves them."""

    @pytest.fixture
    def move(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> Iterator[Callable[..., ValkeyServer]]:
        """Have a key's slot change hands, or be `between` hands; return the one that gets it."""
        moved: list[tuple[int, ValkeyServer]] = []

        def setslot(slot: int, *what: Any, on: ValkeyServer) -> None:
            on.run("CLUSTER SETSLOT", slot, *what)

        def node_id(server: ValkeyServer) -> Any:
            return server.run("CLUSTER MYID")

        def move(key: str, *, between: bool = False) -> ValkeyServer:
            slot = key_slot(name(driver, key))
            source = cluster.owner(slot)
            target = cluster.primaries[cluster.primaries.index(source) - 1]
            moved.append((slot, source))
            if between:
                setslot(slot, "IMPORTING", node_id(source), on=target)
                setslot(slot, "MIGRATING", node_id(target), on=source)
            else:
                hand_over(slot, source, target)
            return target

        def hand_over(slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
            source.client.flushall()  # A node doesn't give up a slot that has keys.
            # One that imports a slot takes it with an epoch that outdoes what is still under way.
            setslot(slot, "IMPORTING", node_id(source), on=target)
            for server in (target, source, *cluster.primaries):
                setslot(slot, "NODE", node_id(target), on=server)

        yield move
        for slot, source in reversed(moved):
            for server in cluster.primaries:
                setslot(slot, "STABLE", on=server)
            if (owner := cluster.owner(slot)) is not source:
                hand_over(slot, owner, source)

    def test_moved(self, driver: RedisDriver, move: Callable[..., ValkeyServer]) -> None:
        driver.get("k")  # The slots are known from here on.
        target = move("k")
        assert driver.incr("k", 1, MINUTE) == 1
        assert target.client.get(name(driver, "k")) == b"1"
        before = sent(target)
        assert driver.incr("k", 1, None) == 2
        assert sent(target) > before

    def test_moved_within_a_batch(
        self, driver: RedisDriver, move: Callable[..., ValkeyServer]
    ) -> None:
        driver.get("k1")
        move("k1")
        keys = [f"k{i}" for i in range(100)]
        driver.set_many([Write(key, b"1", None) for key in keys])
        assert driver.get_many(keys) == dict.fromkeys(keys, b"1")
        move("k2")
        driver.set_many([Write(key, b"2", None) for key in keys])
        move("k3")
        found = driver.get_many(keys)
        assert "k2" in found
        assert "k3" not in found  # Gone with what was on its old node.
        assert found == {key: b"2" for key in keys if driver.contains(key)}
        move("k4")
        left = driver.count("")
        assert 0 < left < 100
        assert driver.remove_many(keys) == left

    def test_ask(
        self, cluster: ValkeyCluster, driver: RedisDriver, move: Callable[..., ValkeyServer]
    ) -> None:
        target = move("k", between=True)
        target.client.script_flush()
        assert driver.create("k", b"1", None)
        assert not driver.create("k", b"1", None)
        assert driver.incr("k", 1, MINUTE) == 2
        assert driver.get("k") == b"2"
        assert driver.get_many(["a", "k", "b"]) == {"k": b"2"}
        assert target.client.dbsize() == 1
        assert cluster.owner(key_slot(name(driver, "k"))).client.dbsize() == 0
        assert driver.remove_many(["a", "k"]) == 1

    def test_a_slot_half_moved(
        self,
        driver: RedisDriver,
        move: Callable[..., ValkeyServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(redis_cluster, "TRY_AGAIN_AFTER", 0)
        driver.set("{k}here", b"1", None)
        move("{k}", between=True)
        with pytest.raises(StoreUnavailableError, match="moving") as caught:
            driver.remove_many(["{k}here", "{k}there"])
        assert not caught.value.maybe_applied
        assert driver.get("{k}here") == b"1"


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
        proxies = {server.port: Proxy(server) for server in cluster.primaries}
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
            proxy.cutting = True
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, expires)
        assert caught.value.maybe_applied
        for proxy in proxies.values():
            proxy.cutting = False
        assert driver.get("k") == b"2"
        writes = [Write(f"n{i}", b"1", None) for i in range(100)]
        driver.set_many(writes)
        for proxy in proxies.values():
            proxy.cutting = True
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


class TestSettings:
    @pytest.mark.parametrize(
        "location", ["redis://localhost/3", "unix:///run/redis.sock", ["redis://a", "redis://b/1"]]
    )
    def test_a_location_that_no_cluster_has(self, make_driver: MakeDriver, location: Any) -> None:
        with pytest.raises(InvalidStoreError, match="database 0") as caught:
            make_driver(location)
        assert caught.value.id == "django_persist.E011"

    def test_place_and_check(self, make_driver: MakeDriver, settings: Any) -> None:
        driver = make_driver("redis://:hush@a,redis://:hush@b:7000/0")
        place = driver.place()
        assert place == make_driver(["redis://b:7000", "redis://a"]).place()
        assert place != make_driver("redis://a").place()
        assert "hush" not in repr(place)
        assert driver.check() == []
        alias = {**settings.CACHES["persist"], "LOCATION": ["redis://b:7000"]}
        settings.CACHES = {**settings.CACHES, "pages": alias}
        assert [warning.id for warning in driver.check()] == ["django_persist.W003"]

    def test_options_reach_every_node(
        self, cluster: ValkeyCluster, make_driver: MakeDriver
    ) -> None:
        for server in cluster.primaries:
            server.client.config_set("requirepass", "hush")
        try:
            driver = make_driver(cluster.urls, PASSWORD="hush", SOCKET_TIMEOUT=3)
            driver.set_many([Write(f"k{i}", b"1", None) for i in range(100)])
            assert driver.count("") == 100
            pools = [node.pool.connection_kwargs for node in driver.servers.primaries()]
            assert [options["socket_timeout"] for options in pools] == [3, 3, 3]
            caches["persist"].set("theirs", 1)
            assert caches["persist"].get("theirs") == 1
        finally:
            for server in cluster.primaries:
                redis.Redis(port=server.port, password="hush").config_set("requirepass", "")


class TestAsAnOrdinaryCache:
    @pytest.fixture
    def cache(self, cluster: ValkeyCluster, make_driver: MakeDriver) -> Any:
        make_driver(cluster.urls)
        return caches.create_connection("persist")

    def test_one_key(self, cache: Any) -> None:
        assert cache.get("k", "default") == "default"
        assert cache.add("k", {"a": 1}, timeout=60)
        assert not cache.add("k", 2)
        assert cache.get("k") == {"a": 1}
        assert cache.touch("k", 100)
        assert 60 < cache.ttl("k") <= 100
        assert cache.delete("k")
        cache.set("n", 1)
        assert cache.incr("n", 4) == 5
        assert "n" in cache

    def test_many_keys(self, cache: Any) -> None:
        data = {f"k{i}": i for i in range(100)}
        cache.set_many(data, timeout=60)
        assert cache.get_many(data) == data
        assert sorted(cache.keys("k*")) == sorted(data)
        assert sorted(cache.iter_keys("k*")) == sorted(data)
        assert cache.delete_many(["k1", "k2", "k3"]) == 3
        assert cache.delete_pattern("k9*") == 11
        assert len(cache.keys("*")) == 86
        cache.clear()
        assert cache.keys("*") == []

    def test_closing(self, cache: Any) -> None:
        cache.set("k", 1)
        cache.client.do_close_clients()
        assert caches["persist"].get("k") == 1

    def test_one_client_in_a_process(self, cache: Any, cluster: ValkeyCluster) -> None:
        other: Any = caches.create_connection("persist")
        assert other.client.get_client() is cache.client.get_client()

    def test_other_options_are_another_client(
        self, cache: Any, cluster: ValkeyCluster, make_driver: MakeDriver
    ) -> None:
        first = cache.client.get_client()
        make_driver(cluster.urls, SOCKET_TIMEOUT=1)
        other: Any = caches.create_connection("persist")
        assert other.client.get_client() is not first

    def test_entries_are_beside_what_is_cached(self, cache: Any, driver: RedisDriver) -> None:
        cache.set("k", "cached")
        driver.set("k", b"1", None)
        assert cache.get("k") == "cached"
        assert list(driver.keys("")) == ["k"]
