"""RedisDriver on a primary that Sentinel names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import InvalidStoreError, StoreUnavailableError
from tests.drivers.redis.calls import CALLS, MANY, prepare
from tests.drivers.redis.conftest import MakeDriver
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import (
    ValkeySentinel,
    ValkeyServer,
    catch_up,
    start_replica,
    wait_for,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def replica(primary: ValkeyServer) -> Iterator[ValkeyServer]:
    server = start_replica(primary.port)
    yield server
    server.kill()


@pytest.fixture
def sentinel(primary: ValkeyServer, replica: ValkeyServer) -> Iterator[ValkeySentinel]:
    """A Sentinel that knows the primary and the replica."""
    server = ValkeySentinel(primary)
    server.start()
    wait_for(lambda: server.client.sentinel_slaves("main"), "Sentinel")
    yield server
    server.kill()


def alias(sentinel_port: int) -> dict[str, Any]:
    """Return the arguments of `make_driver` for an alias behind Sentinel."""
    return {
        "location": "redis://main/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [("127.0.0.1", sentinel_port)],
        },
    }


def test_the_process_continues_after_a_failover(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, make_driver: MakeDriver
) -> None:
    driver = make_driver(**alias(sentinel.port))
    assert driver.incr("k", 1, MINUTE) == 1
    assert primary.client.get(":persist:k") == b"1"
    catch_up(replica, primary)

    # Sentinel refuses until the replica has reported that it is up to date.
    wait_for(lambda: sentinel.client.sentinel_failover("main") or True, "Sentinel")
    wait_for(lambda: primary.client.info("replication")["role"] == "slave", "Failover")
    wait_for(lambda: replica.client.info("replication")["role"] == "master", "Failover")
    wait_for(lambda: current_primary(sentinel) == replica.port, "Failover")

    assert incr_twice_if_refused(driver) == 2
    assert replica.client.get(":persist:k") == b"2"
    assert driver.get("k") == b"2"


def incr_twice_if_refused(driver: RedisDriver) -> int | None:
    """Count. Once more if the first call had a connection to the old primary, which refuses."""
    try:
        return driver.incr("k", 1, MINUTE)
    except StoreUnavailableError as error:
        if error.maybe_applied:
            raise
        return driver.incr("k", 1, MINUTE)


def current_primary(sentinel: ValkeySentinel) -> int:
    """Return the port of the primary, according to Sentinel."""
    return int(sentinel.run("SENTINEL GET-MASTER-ADDR-BY-NAME", "main")[1])


def test_a_primary_that_has_become_a_replica(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, make_driver: MakeDriver
) -> None:
    """Nothing was done, although Sentinel's connections raise the refusal as a lost connection."""
    driver = make_driver(**alias(sentinel.port))
    driver.set("k", b"1", None)
    primary.run("REPLICAOF", "127.0.0.1", replica.port)
    with pytest.raises(StoreUnavailableError) as caught:
        driver.incr("k", 1, None)
    assert not caught.value.maybe_applied


def test_a_primary_that_is_killed(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, make_driver: MakeDriver
) -> None:
    """Sentinel notices by itself, and the same process then uses the new primary."""
    driver = make_driver(**alias(sentinel.port))
    prepare(driver)
    assert driver.incr("counter", 1, None) == 1
    catch_up(replica, primary)
    sentinel.client.sentinel_set("main", "down-after-milliseconds", 300)
    primary.kill()
    maybe = tries = 0
    end = time.monotonic() + 20
    while True:
        assert time.monotonic() < end
        try:
            driver.incr("counter", 1, MINUTE)
            break
        except StoreUnavailableError as error:
            tries += 1
            maybe += error.maybe_applied
            time.sleep(0.02)
    assert tries > 1
    assert current_primary(sentinel) == replica.port
    assert 2 <= int(driver.get("counter") or 0) <= 2 + maybe
    assert dict(driver.get_many(MANY)) == dict.fromkeys(MANY, b"1")
    for call in CALLS.values():
        prepare(driver)
        call.run(driver)
    prepare(driver)
    assert replica.client.get(":persist:k") == b"1"

    primary.start()  # Sentinel makes it a replica, which nobody reads from.
    wait_for(lambda: primary.client.info("replication")["role"] == "slave", "The old primary")
    driver.set("k", b"2", None)
    assert driver.get("k") == b"2"
    assert replica.client.get(":persist:k") == b"2"


def test_a_sentinel_that_does_not_answer_is_asked_once(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, make_driver: MakeDriver
) -> None:
    """Then the next Sentinel is asked."""
    proxy = Proxy(sentinel.port)
    settings = alias(proxy.port)
    settings["OPTIONS"]["SENTINELS"].append(("127.0.0.1", sentinel.port))
    driver = make_driver(**settings)
    with proxy.failing(Fault.BEFORE):
        driver.set("k", b"1", None)
    assert len(proxy.requests) == 1
    proxy.close()


def test_no_sentinel(make_driver: MakeDriver) -> None:
    driver = make_driver(**alias(1))
    with pytest.raises(StoreUnavailableError, match="'main'") as caught:
        driver.set("k", b"1", None)
    assert not caught.value.maybe_applied


def test_a_url_that_asks_for_replicas(make_driver: MakeDriver) -> None:
    with pytest.raises(InvalidStoreError, match="replicas") as caught:
        make_driver(**{**alias(1), "location": ["redis://main/0?is_master=0"]})
    assert caught.value.id == "django_persist.E011"
