"""Valkey servers, and drivers that use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.servers.proxy import Proxy
from tests.servers.valkey_servers import REPLICATES_AT_ONCE, ValkeyServer, start

DJANGO_REDIS = "django_redis.cache.RedisCache"
DJANGO = "django.core.cache.backends.redis.RedisCache"
MINUTE = timedelta(minutes=1)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)

RETRYING: dict[str, Any] = {
    "IGNORE_EXCEPTIONS": True,
    "CONNECTION_POOL_KWARGS": {
        "retry": Retry(NoBackoff(), 5),
        "retry_on_timeout": True,
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError],
    },
}

COMMANDS = (
    "set",
    "get",
    "mget",
    "unlink",
    "evalsha",
    "eval",
    "incrby",
    "exists",
    "scan",
    "pexpire",
)
"""The commands that the driver sends for entries."""

T = TypeVar("T")
MakeDriver = Callable[..., RedisDriver]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ValkeyServer]:
    server = start()
    yield server
    server.kill()


@pytest.fixture
def primary() -> Iterator[ValkeyServer]:
    """A server of its own, which sends what it gets to its replicas at once."""
    server = start(*REPLICATES_AT_ONCE)
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: ValkeyServer) -> ValkeyServer:
    shared_server.client.flushall()
    return shared_server


@pytest.fixture
def own_server() -> Iterator[Callable[..., ValkeyServer]]:
    """Return a function that starts a server for one test, with options of valkey-server."""
    servers = []

    def make(*options: str) -> ValkeyServer:
        servers.append(start(*options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def make_driver(settings: Any) -> Iterator[MakeDriver]:
    """Return a function that makes a driver, given the LOCATION and more of its alias in CACHES."""
    drivers = []

    def make(location: Any, **alias: Any) -> RedisDriver:
        alias = {"BACKEND": DJANGO_REDIS, "LOCATION": location, **alias}
        settings.CACHES = {**settings.CACHES, "persist": alias}
        drivers.append(RedisDriver(cache="persist"))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def driver(server: ValkeyServer, make_driver: MakeDriver) -> RedisDriver:
    return make_driver(server.url)


def each(*calls: Callable[[], object]) -> tuple[Callable[[], object], ...]:
    """Return the calls, with a type that lets mypy check lambdas of different results."""
    return calls


def retry_on_timeout(call: Callable[[], T]) -> T:
    """Make a call that must succeed. A busy machine may be slower than the driver's timeout."""
    end = time.monotonic() + 20
    while True:
        try:
            return call()
        except StoreUnavailableError as error:
            assert isinstance(error.__cause__, redis.TimeoutError)
            assert time.monotonic() < end


def server_now(server: ValkeyServer) -> datetime:
    seconds, micros = server.run("TIME")
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def count_command(server: ValkeyServer, command: str) -> int:
    """Return how often the server has run a command."""
    return int(server.client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def count_commands(server: ValkeyServer) -> dict[str, int]:
    """Return how often the server has run each of COMMANDS."""
    stats = server.client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in COMMANDS}


def expires_at(driver: RedisDriver, key: str) -> datetime | None:
    item = driver.get_item(key)
    assert item is not None
    return item.expires_at
