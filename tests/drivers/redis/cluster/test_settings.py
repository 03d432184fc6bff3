"""Aliases of CACHES on a Redis Cluster, for a store and as an ordinary cache."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.core.cache import caches

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    InvalidStoreError,
)
from tests.drivers.redis.cluster.conftest import MakeDriver
from tests.servers.valkey_servers import (
    ValkeyCluster,
)


class TestSettings:
    @pytest.mark.parametrize(
        "location", ["redis://localhost/3", "unix:///run/redis.sock", ["redis://a", "redis://b/1"]]
    )
    def test_an_invalid_location(self, make_driver: MakeDriver, location: Any) -> None:
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
            driver.set_many([(f"k{i}", b"1", None) for i in range(100)])
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

    def test_entries_and_cached_values_are_separate(self, cache: Any, driver: RedisDriver) -> None:
        cache.set("k", "cached")
        driver.set("k", b"1", None)
        assert cache.get("k") == "cached"
        assert list(driver.keys("")) == ["k"]
