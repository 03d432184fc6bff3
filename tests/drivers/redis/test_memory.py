"""A server that is out of memory and may not evict: it refuses writes, other calls work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_persist import KEEP, Store
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.calls import (
    MANY,
    READS,
    STORING,
    WRITES,
    assert_refused,
    assert_unchanged,
    prepare,
)
from tests.drivers.redis.conftest import RETRYING, MakeDriver
from tests.servers.valkey_servers import ValkeyServer

OwnServer = Callable[..., ValkeyServer]


@pytest.fixture
def server(own_server: OwnServer) -> ValkeyServer:
    return own_server("--maxmemory-policy", "noeviction")


@pytest.fixture
def driver(server: ValkeyServer, make_driver: MakeDriver) -> RedisDriver:
    driver = make_driver(server.url, OPTIONS=RETRYING)
    prepare(driver)
    return driver


def test_out_of_memory_refuses_only_what_needs_memory(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    server.client.config_set("maxmemory", 1)
    assert_refused(driver, *STORING, match="memory")
    assert_unchanged(driver)
    for name in ("touch", "touch, moment", "touch, never"):
        assert WRITES[name].run(driver)
    for call in READS.values():
        assert call.run(driver)
    assert driver.remove("k")
    assert driver.remove_if("many0", b"1")
    assert driver.remove_many(MANY) == len(MANY) - 1
    server.client.config_set("maxmemory", 0)
    prepare(driver)
    assert_unchanged(driver)


def test_set_many_near_the_memory_limit_stores_all_or_nothing(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    """However much of it there is room for."""
    store = Store(driver)
    outcomes = set()
    for tenths in range(0, 24, 2):
        used = server.client.info("memory")["used_memory"]
        server.client.config_set("maxmemory", used + tenths * 100_000)
        values = {f"large{i}": "x" * 1_000 for i in range(1_000)}
        try:
            store.set_many(values, expires=KEEP)
        except StoreUnavailableError as error:
            assert not error.maybe_applied
            assert store.count("large") == 0
            outcomes.add("refused")
        else:
            assert store.count("large") == 1_000
            outcomes.add("stored")
        server.client.config_set("maxmemory", 0)
        store.clear("large")
    assert outcomes == {"refused", "stored"}
