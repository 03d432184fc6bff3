"""A server that is out of memory, and may not evict: writes are refused, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_persist import KEEP, Store
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.calls import MANY, READS, STORING, WRITES, prepare, refuses, unchanged
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


def test_what_needs_memory_is_refused_and_the_rest_goes_on(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    server.client.config_set("maxmemory", 1)
    refuses(driver, *STORING, match="memory")
    unchanged(driver)
    for name in ("touch", "touch, moment", "touch, never"):
        assert WRITES[name].run(driver)
    for call in READS.values():
        assert call.run(driver)
    assert driver.remove("k")
    assert driver.remove_if("many0", b"1")
    assert driver.remove_many(MANY) == len(MANY) - 1
    server.client.config_set("maxmemory", 0)
    prepare(driver)
    unchanged(driver)


def test_near_the_limit_set_many_stores_all_or_nothing(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    """Whether there is room for a tenth of it or for all but a tenth."""
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
