"""RedisDriver on a Redis Cluster whose slots move from node to node under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from redis.crc import key_slot

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from tests.drivers.redis.cluster.conftest import MINUTE, MakeDriver, name
from tests.extent import LONG
from tests.servers.valkey_servers import ValkeyCluster

THREADS = 6
HOUR = timedelta(hours=1)
TAGS = ("{a}", "{b}", "{c}")


class Load:
    """Threads that write and read, and check every result."""

    def __init__(self, driver: RedisDriver) -> None:
        self.driver = driver
        self.rounds = [0] * THREADS
        self.done = threading.Event()

    def work(self, i: int) -> None:
        try:
            self.go_round(i)
        finally:  # If one thread fails, the test need not wait for the others.
            self.done.set()

    def go_round(self, i: int) -> None:
        driver, store = self.driver, Store(self.driver)
        round_ = 0
        while not self.done.is_set():
            round_ += 1
            value = b"%d" % round_
            for tag in TAGS:
                # Calls for one key.
                assert driver.incr(f"{tag}{i}:own", 1, None) == round_
                assert driver.incr(f"{tag}shared", 1, HOUR)
                store.update(f"{tag}updated", lambda number: number + 1, 0)
                driver.set(f"{tag}{i}:set", value, MINUTE)
                assert driver.get(f"{tag}{i}:set") == value
                assert driver.touch(f"{tag}{i}:set", None)
                assert driver.get_item(f"{tag}{i}:set") == (value, None)
                assert driver.remove(f"{tag}{i}:set")
                assert driver.create(f"{tag}{i}:set", value, MINUTE)
                # Many keys of one slot, some of which exist.
                keys = [f"{tag}{i}:{n}" for n in range(10)]
                driver.set_many([(key, value, None) for key in keys])
                assert dict(driver.get_many([*keys, f"{tag}absent"])) == dict.fromkeys(keys, value)
                assert driver.remove_many([f"{tag}absent", *keys[:5]]) == 5
            # Many keys of many slots.
            everywhere = [f"{i}:{n}" for n in range(20)] + [f"{tag}{i}:9" for tag in TAGS]
            driver.set_many([(key, value, None) for key in everywhere])
            assert dict(driver.get_many(everywhere)) == dict.fromkeys(everywhere, value)
            assert f"{i}:0" in set(driver.keys(f"{i}:"))
            assert driver.remove_many(everywhere) == len(everywhere)
            self.rounds[i] = round_

    def wait(self) -> None:
        """Wait until every thread has completed another round."""
        before = list(self.rounds)
        end = time.monotonic() + 30
        while any(now < then + 2 for now, then in zip(self.rounds, before, strict=True)):
            assert time.monotonic() < end and not self.done.is_set()
            time.sleep(0.01)

    def check(self) -> None:
        """Nothing was lost, and nothing was counted twice."""
        for tag in TAGS:
            own = [self.driver.get(f"{tag}{i}:own") for i in range(THREADS)]
            assert own == [b"%d" % rounds for rounds in self.rounds]
            assert self.driver.get(f"{tag}shared") == b"%d" % sum(self.rounds)
            assert self.driver.get(f"{tag}updated") == b"%d" % sum(self.rounds)


@contextmanager
def load(driver: RedisDriver) -> Iterator[Load]:
    load = Load(driver)
    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(load.work, i) for i in range(THREADS)]
        try:
            yield load
        finally:
            load.done.set()
            for each in running:
                each.result()
    load.check()


@pytest.fixture
def filled(driver: RedisDriver) -> RedisDriver:
    """A driver whose slots take a while to move."""
    writes = [(f"{tag}filling{n}", b"1", None) for tag in TAGS for n in range(100)]
    driver.set_many(writes)
    return driver


def test_slots_that_move_under_load(cluster: ValkeyCluster, filled: RedisDriver) -> None:
    slots = [key_slot(name(filled, tag)) for tag in TAGS]
    owners = [cluster.owner(slot) for slot in slots]
    with load(filled) as running:
        for step in (1, 2, 3):  # Each slot goes to the other two nodes, and back.
            for slot, owner in zip(slots, owners, strict=True):
                target = cluster.primaries[(cluster.primaries.index(owner) + step) % 3]
                cluster.move(slot, target, pause=0.005)
            running.wait()
    assert filled.count("{a}filling") == 100


def test_the_slots_of_many_keys_move_under_load(
    cluster: ValkeyCluster, filled: RedisDriver
) -> None:
    """Each thread's calls for many keys meet slots that have moved, are moving, or will move."""
    slots = {key_slot(name(filled, f"{i}:{n}")) for i in range(THREADS) for n in range(0, 20, 5)}
    slots |= set(range(5200 if LONG else 0))
    # The load looks for these in listings, which may miss keys that move.
    slots -= {key_slot(name(filled, f"{i}:0")) for i in range(THREADS)}
    owners = {slot: cluster.owner(slot) for slot in slots}
    with load(filled) as running:
        for slot, owner in owners.items():
            cluster.move(slot, cluster.primaries[cluster.primaries.index(owner) - 1])
        running.wait()
    for slot, owner in owners.items():
        cluster.move(slot, owner)


def test_a_node_that_is_added_and_removed_under_load(
    cluster: ValkeyCluster, filled: RedisDriver, make_driver: MakeDriver
) -> None:
    slots = [key_slot(name(filled, tag)) for tag in TAGS]
    owners = [cluster.owner(slot) for slot in slots]
    listing = make_driver(cluster.urls)
    assert listing.count("{a}filling") == 100
    with load(filled) as running:
        server = cluster.add()
        for slot in slots:
            cluster.move(slot, server)
        running.wait()
        # This driver has made no call that could have named the new node.
        assert listing.count("{a}filling") == 100
        assert make_driver(server.url).count("{b}filling") == 100
        for slot, owner in zip(slots, owners, strict=True):
            cluster.move(slot, owner)
        running.wait()  # So that no call to that node is under way.
        cluster.remove(server)
        running.wait()
    assert listing.count("{a}filling") == 100
