"""max_connections, and a BlockingConnectionPool, with more threads than connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.conftest import DJANGO, DJANGO_REDIS, MakeDriver
from tests.servers.valkey_servers import ValkeyServer

THREADS = 8
CALLS = 100
MOST = 3

BLOCKING = "redis.connection.BlockingConnectionPool"


@pytest.fixture(params=[DJANGO_REDIS, DJANGO])
def limited(request: pytest.FixtureRequest, make_driver: MakeDriver) -> Callable[..., RedisDriver]:
    """Return a function that makes a driver with these options for its pool, on each backend."""

    def make(location: str, pool_class: str | None = None, **pool: Any) -> RedisDriver:
        options: dict[str, Any]
        if request.param == DJANGO:
            options = {"pool_class": pool_class, **pool} if pool_class else pool
        else:
            options = {"CONNECTION_POOL_KWARGS": pool}
            options |= {"CONNECTION_POOL_CLASS": pool_class} if pool_class else {}
        return make_driver(location, BACKEND=request.param, OPTIONS=options)

    return make


def hammer(driver: RedisDriver, server: ValkeyServer) -> tuple[int, list[str], int]:
    """Count from many threads.

    Return how many calls counted, the errors of the others, and the most connections at a time.
    """
    client: Any = server.client
    own, barrier = str(client.client_id()), threading.Barrier(THREADS)
    before = {each["id"] for each in client.client_list()}
    errors: list[str] = []

    def work(_: int) -> int:
        barrier.wait(30)
        counted = 0
        for _ in range(CALLS):
            try:
                driver.incr("counter", 1, None)
                counted += 1
            except StoreUnavailableError as error:
                assert not error.maybe_applied
                errors.append(str(error))
        return counted

    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(work, i) for i in range(THREADS)]
        most = 0
        while not all(each.done() for each in running):
            ids = {each["id"] for each in client.client_list()}
            most = max(most, len(ids - before - {own}))
        return sum(each.result() for each in running), errors, most


def test_no_more_connections_than_there_may_be(
    server: ValkeyServer, limited: Callable[..., RedisDriver]
) -> None:
    driver = limited(server.url, max_connections=MOST)
    counted, errors, most = hammer(driver, server)
    assert counted + len(errors) == THREADS * CALLS
    assert driver.get("counter") == b"%d" % counted
    assert 1 <= most <= MOST
    assert all("was not asked: all 3 connections are in use" in error for error in errors)


@pytest.mark.parametrize("seconds", [30, None])
def test_a_blocking_pool_waits(
    server: ValkeyServer, limited: Callable[..., RedisDriver], seconds: float | None
) -> None:
    driver = limited(server.url, BLOCKING, max_connections=MOST, timeout=seconds)
    counted, errors, most = hammer(driver, server)
    assert (counted, errors) == (THREADS * CALLS, [])
    assert 1 <= most <= MOST


def test_a_blocking_pool_waits_as_long_as_it_may(
    server: ValkeyServer, limited: Callable[..., RedisDriver]
) -> None:
    driver = limited(server.url, BLOCKING, max_connections=MOST, timeout=0.2)
    pool = driver.servers.primaries()[0].pool
    taken = [pool.get_connection() for _ in range(MOST)]
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="in use"):
        driver.get("k")
    assert 0.2 <= time.monotonic() - started < 2
    later = threading.Timer(0.05, lambda: pool.release(taken.pop()))
    later.start()
    assert driver.get("k") is None
    later.join()
