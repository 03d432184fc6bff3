"""RedisDriver on a Redis Cluster: keys over many slots, and slots that move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.crc import key_slot

from django_persist.drivers.redis import RedisDriver, cluster
from django_persist.exceptions import (
    InvalidExpiryError,
    StoreUnavailableError,
)
from tests.drivers.redis.calls import CALLS, prepare
from tests.drivers.redis.cluster.conftest import MINUTE, MakeDriver, count_reads, name
from tests.servers.valkey_servers import (
    ValkeyCluster,
    ValkeyServer,
)


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

    def test_every_call_returns_what_it_returns_on_a_single_server(
        self, driver: RedisDriver, make_driver: MakeDriver, server: ValkeyServer
    ) -> None:
        single = make_driver(server.url, CONNECTION_FACTORY="django_redis.pool.ConnectionFactory")
        for call_name, call in CALLS.items():
            said = []
            for each in (driver, single):
                prepare(each)
                result = call.run(each)
                said.append(sorted(result) if isinstance(result, list) else result)
            assert said[0] == said[1], call_name
            assert dict(driver.items("new")).keys() == dict(single.items("new")).keys(), call_name
            assert sorted(driver.keys("")) == sorted(single.keys("")), call_name

    def test_ten_thousand(self, cluster: ValkeyCluster, driver: RedisDriver) -> None:
        entries = {f"k{i}": b"%d" % i for i in range(10_000)}
        driver.set_many([(key, value, MINUTE) for key, value in entries.items()])
        assert all(server.client.dbsize() > 2_000 for server in cluster.primaries)
        assert dict(driver.get_many([*entries, "absent"])) == entries
        assert sorted(driver.keys("")) == sorted(entries)
        assert {key: item.value for key, item in driver.items("")} == entries
        assert driver.count("k99") == 111
        assert driver.remove_many([*entries, "absent"]) == 10_000
        assert driver.count("") == 0

    def test_about_one_round_trip_for_each_node(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> None:
        keys = [f"k{i}" for i in range(1_000)]
        driver.set_many([(key, b"1", None) for key in keys])
        before = [count_reads(server) for server in cluster.primaries]
        assert len(dict(driver.get_many(keys))) == 1_000
        for server, count in zip(cluster.primaries, before, strict=True):
            # A batch can take a few reads. A command for each key would take 333.
            assert count_reads(server) - count < 20

    def test_one_slot_is_all_or_nothing(self, driver: RedisDriver) -> None:
        assert not driver.supports_atomic_set_many
        passed = datetime(2000, 1, 1, tzinfo=UTC)
        with pytest.raises(InvalidExpiryError):
            driver.set_many([("{a}1", b"1", None), ("{a}2", b"2", passed)])
        assert dict(driver.get_many(["{a}1", "{a}2"])) == {}
        driver.set_many([("{a}1", b"1", None), ("{a}2", b"2", None)])
        assert dict(driver.get_many(["{a}1", "{a}2"])) == {"{a}1": b"1", "{a}2": b"2"}

    def test_scripts_are_sent_again_after_a_script_flush(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> None:
        for _ in range(2):
            for server in cluster.primaries:
                server.client.script_flush()
            driver.set_many([(f"k{i}", b"1", None) for i in range(300)])
        assert driver.count("") == 300

    def test_threads(self, driver: RedisDriver) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda i: driver.incr(f"k{i % 7}", 1, MINUTE), range(700)))
        assert dict(driver.get_many([f"k{i}" for i in range(7)])) == {
            f"k{i}": b"100" for i in range(7)
        }


class TestMovingSlots:
    """Slots that an operator moves to another node."""

    @pytest.fixture
    def move(
        self, cluster: ValkeyCluster, driver: RedisDriver
    ) -> Iterator[Callable[..., ValkeyServer]]:
        """Return a function that moves a key's slot to another node, and returns that node.

        With `between` the move has begun and doesn't end.
        """
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
            source.client.flushall()  # A node refuses to give up a slot that has keys.
            # Importing gives the target a newer epoch, which wins over messages still under way.
            setslot(slot, "IMPORTING", node_id(source), on=target)
            for server in (target, source, *cluster.primaries):
                setslot(slot, "NODE", node_id(target), on=server)

        yield move
        for slot, source in reversed(moved):
            for server in cluster.primaries:
                setslot(slot, "STABLE", on=server)
            if (owner := cluster.owner(slot)) is not source:
                hand_over(slot, owner, source)

    def test_moved(
        self, cluster: ValkeyCluster, driver: RedisDriver, move: Callable[..., ValkeyServer]
    ) -> None:
        driver.get("k")  # From here on the driver knows the slots.
        target = move("k")
        assert driver.incr("k", 1, MINUTE) == 1
        assert target.client.get(name(driver, "k")) == b"1"
        before = {server: incrby_stats(server) for server in cluster.primaries}
        assert driver.incr("k", 1, None) == 2
        for server in cluster.primaries:
            calls, rejected = before[server]
            assert incrby_stats(server) == (calls + (server is target), rejected)

    def test_moved_within_a_batch(
        self, driver: RedisDriver, move: Callable[..., ValkeyServer]
    ) -> None:
        driver.get("k1")
        move("k1")
        keys = [f"k{i}" for i in range(100)]
        driver.set_many([(key, b"1", None) for key in keys])
        assert dict(driver.get_many(keys)) == dict.fromkeys(keys, b"1")
        move("k2")
        driver.set_many([(key, b"2", None) for key in keys])
        move("k3")
        found = dict(driver.get_many(keys))
        assert "k2" in found
        assert "k3" not in found  # `move` has emptied its old node.
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
        assert dict(driver.get_many(["a", "k", "b"])) == {"k": b"2"}
        assert target.client.dbsize() == 1
        assert cluster.owner(key_slot(name(driver, "k"))).client.dbsize() == 0
        assert driver.remove_many(["a", "k"]) == 1

    def test_a_slot_half_moved(
        self,
        driver: RedisDriver,
        move: Callable[..., ValkeyServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Calls that can be split by key are. One atomic step waits for the slot, then fails."""
        monkeypatch.setattr(cluster, "RETRY_SECONDS", 0.1)
        driver.set("{k}here", b"1", None)
        move("{k}", between=True)
        driver.set("{k}there", b"2", None)
        here, there, nowhere = keys = ["{k}here", "{k}there", "{k}nowhere"]
        assert dict(driver.get_many(keys)) == {here: b"1", there: b"2"}
        assert dict(driver.get_many([there, nowhere])) == {there: b"2"}
        assert {key: item.value for key, item in driver.items("")} == {here: b"1", there: b"2"}
        with pytest.raises(StoreUnavailableError, match="moving") as caught:
            driver.set_many([(key, b"3", None) for key in keys])
        assert not caught.value.maybe_applied
        assert dict(driver.get_many(keys)) == {here: b"1", there: b"2"}
        assert driver.remove_many(keys) == 2
        assert dict(driver.get_many(keys)) == {}


def incrby_stats(server: ValkeyServer) -> tuple[int, int]:
    """Return how many INCRBY the server has run, and how many it has redirected or refused."""
    stats = server.client.info("commandstats").get("cmdstat_incrby", {})
    return stats.get("calls", 0), stats.get("rejected_calls", 0)
