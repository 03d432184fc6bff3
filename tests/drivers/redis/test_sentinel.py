"""RedisDriver on a primary that Sentinel names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import InvalidStoreError, StoreUnavailableError
from tests.drivers.redis.calls import CALLS, MANY, prepare
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import ValkeySentinel, ValkeyServer, start, wait_for

MINUTE = timedelta(minutes=1)


@pytest.fixture
def primary() -> Iterator[ValkeyServer]:
    server = start("--repl-diskless-sync-delay", "0")
    yield server
    server.kill()


@pytest.fixture
def replica(primary: ValkeyServer) -> Iterator[ValkeyServer]:
    server = start("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")
    wait_for(lambda: server.client.info("replication")["master_link_status"] == "up", "The replica")
    yield server
    server.kill()


@pytest.fixture
def sentinel(primary: ValkeyServer, replica: ValkeyServer) -> Iterator[ValkeySentinel]:
    server = ValkeySentinel(primary)
    server.start()
    wait_for(lambda: redis.Redis(port=server.port).sentinel_slaves("main"), "Sentinel")
    yield server
    server.kill()


def alias(sentinel_port: int, location: str = "redis://main/0") -> dict[str, Any]:
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": location,
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [("127.0.0.1", sentinel_port)],
        },
    }


def test_the_same_process_goes_on_after_a_failover(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, settings: Any
) -> None:
    settings.CACHES = {**settings.CACHES, "persist": alias(sentinel.port)}
    driver = RedisDriver(cache="persist")
    assert driver.incr("k", 1, MINUTE) == 1
    assert primary.client.get(":persist:k") == b"1"
    primary.client.wait(1, 1000)

    client = redis.Redis(port=sentinel.port)
    # Refused until Sentinel has heard from the replica that it is in step.
    wait_for(lambda: client.sentinel_failover("main") or True, "Sentinel")
    wait_for(lambda: primary.client.info("replication")["role"] == "slave", "Failover")
    wait_for(lambda: replica.client.info("replication")["role"] == "master", "Failover")
    wait_for(lambda: now_named(sentinel) == replica.port, "Failover")

    assert incr_twice_if_refused(driver) == 2
    assert replica.client.get(":persist:k") == b"2"
    assert driver.get("k") == b"2"


def incr_twice_if_refused(driver: RedisDriver) -> int | None:
    """Count once; where a connection to the old primary was left, which refuses, once more."""
    try:
        return driver.incr("k", 1, MINUTE)
    except StoreUnavailableError as error:
        if error.maybe_applied:
            raise
        return driver.incr("k", 1, MINUTE)


def now_named(sentinel: ValkeySentinel) -> int:
    client: Any = redis.Redis(port=sentinel.port)
    return int(client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "main")[1])


def test_a_primary_that_has_become_a_replica(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, settings: Any
) -> None:
    """Nothing was done, though Sentinel's connections make a lost connection of the refusal."""
    settings.CACHES = {**settings.CACHES, "persist": alias(sentinel.port)}
    driver = RedisDriver(cache="persist")
    driver.set("k", b"1", None)
    primary.run("REPLICAOF", "127.0.0.1", replica.port)
    with pytest.raises(StoreUnavailableError) as caught:
        driver.incr("k", 1, None)
    assert not caught.value.maybe_applied


def test_a_primary_that_is_killed(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, settings: Any
) -> None:
    """Sentinel finds out by itself; the same process goes on by itself."""
    settings.CACHES = {**settings.CACHES, "persist": alias(sentinel.port)}
    driver = RedisDriver(cache="persist")
    prepare(driver)
    assert driver.incr("counter", 1, None) == 1
    primary.client.wait(1, 1000)
    client: Any = redis.Redis(port=sentinel.port)
    client.sentinel_set("main", "down-after-milliseconds", 300)
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
    assert now_named(sentinel) == replica.port
    assert 2 <= int(driver.get("counter") or 0) <= 2 + maybe
    assert dict(driver.get_many(MANY)) == dict.fromkeys(MANY, b"1")
    for call in CALLS.values():
        prepare(driver)
        call.run(driver)
    prepare(driver)
    assert replica.client.get(":persist:k") == b"1"

    primary.start()  # Sentinel makes it a replica, and nobody reads there.
    wait_for(lambda: primary.client.info("replication")["role"] == "slave", "The old primary")
    driver.set("k", b"2", None)
    assert driver.get("k") == b"2"
    assert replica.client.get(":persist:k") == b"2"


def test_a_sentinel_that_does_not_answer_is_asked_once(
    primary: ValkeyServer, replica: ValkeyServer, sentinel: ValkeySentinel, settings: Any
) -> None:
    """The next is asked, rather than the same again."""
    proxy = Proxy(sentinel.port)
    options = alias(proxy.port)
    options["OPTIONS"]["SENTINELS"].append(("127.0.0.1", sentinel.port))
    settings.CACHES = {**settings.CACHES, "persist": options}
    driver = RedisDriver(cache="persist")
    with proxy.failing(Fault.BEFORE):
        driver.set("k", b"1", None)
    assert len(proxy.requests) == 1
    proxy.close()


def test_no_sentinel(settings: Any) -> None:
    settings.CACHES = {**settings.CACHES, "persist": alias(1)}
    driver = RedisDriver(cache="persist")
    with pytest.raises(StoreUnavailableError, match="'main'") as caught:
        driver.set("k", b"1", None)
    assert not caught.value.maybe_applied


def test_an_url_that_asks_for_replicas(settings: Any) -> None:
    options = alias(1)
    options["LOCATION"] = ["redis://main/0?is_master=0"]
    settings.CACHES = {**settings.CACHES, "persist": options}
    with pytest.raises(InvalidStoreError, match="replicas") as caught:
        RedisDriver(cache="persist")
    assert caught.value.id == "django_persist.E011"
