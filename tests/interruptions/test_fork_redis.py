"""A process that forks while its threads open connections to Redis: the children can work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from tests.drivers.redis.cluster.conftest import FACTORY
from tests.drivers.redis.conftest import DJANGO, DJANGO_REDIS
from tests.interruptions.conftest import behind
from tests.servers.valkey_servers import ValkeyCluster, ValkeySentinel, start

CHILDREN = 8
SECONDS = 10

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture(
    params=[
        "single",
        *(pytest.param(name, marks=pytest.mark.costly) for name in ("sentinel", "cluster", DJANGO)),
    ]
)
def alias(request: pytest.FixtureRequest, settings: Any) -> Any:
    if request.param == "sentinel":
        sentinel: ValkeySentinel = request.getfixturevalue("sentinel")
        settings.CACHES = {**settings.CACHES, "persist": behind(sentinel)}
        yield
        return
    server = None
    alias: dict[str, Any] = {"BACKEND": DJANGO_REDIS}
    if request.param == "cluster":
        cluster: ValkeyCluster = request.getfixturevalue("shared_cluster")
        alias |= {"LOCATION": cluster.urls, "OPTIONS": {"CONNECTION_FACTORY": FACTORY}}
    else:
        server = start()
        alias["LOCATION"] = server.url
        if request.param == DJANGO:
            alias["BACKEND"] = DJANGO
    settings.CACHES = {**settings.CACHES, "persist": alias}
    yield
    if server is not None:
        server.kill()


def exit_status(child: int) -> int | None:
    """Wait for a child; return its status, or None if it hung and was ended."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def forked_while(busy: Callable[[], object], in_child: Callable[[int], object]) -> list[int | None]:
    """Fork again and again while threads run `busy`; return how each child ended, up to a hang."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            busy()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for number in range(CHILDREN):
            time.sleep(0.002)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    in_child(number)
                    status = 0
                finally:
                    os._exit(status)
            statuses.append(exit_status(child))
            if statuses[-1] is None:
                break
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return statuses


def test_a_fork_while_threads_open_connections(alias: Any) -> None:
    store = Store(RedisDriver(cache="persist"))
    store.clear()

    def busy() -> None:
        store.driver.close()
        assert store.incr("of the parent") > 0

    def in_child(number: int) -> None:
        for i in range(5):
            store.set(f"child {number}", i)
            assert store.get(f"child {number}") == i

    assert forked_while(busy, in_child) == [0] * CHILDREN
    assert store.get_many([f"child {number}" for number in range(CHILDREN)]) == {
        f"child {number}": 4 for number in range(CHILDREN)
    }


def test_a_fork_while_a_cache_connects_to_its_cluster(
    shared_cluster: ValkeyCluster, settings: Any
) -> None:
    """The factory's clients are shared by all threads, and made under a lock."""
    alias = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": shared_cluster.urls,
        "OPTIONS": {"CONNECTION_FACTORY": FACTORY},
    }
    settings.CACHES = {**settings.CACHES, "persist": alias}
    # A child must not inherit a half-done import: the thread that would end it isn't there.
    caches.create_connection("persist").get("imports the client")

    def busy() -> None:
        # Other options are another client.
        kwargs = {"socket_timeout": 5 + time.monotonic() % 1}
        options = {"CONNECTION_FACTORY": FACTORY, "CONNECTION_POOL_KWARGS": kwargs}
        settings.CACHES = {**settings.CACHES, "other": {**alias, "OPTIONS": options}}
        cache: Any = caches.create_connection("other")
        cache.client.get_client()

    def in_child(number: int) -> None:
        cache = caches.create_connection("persist")
        cache.set(f"cached {number}", number)
        assert cache.get(f"cached {number}") == number

    assert forked_while(busy, in_child) == [0] * CHILDREN
