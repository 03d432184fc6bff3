"""An alias whose KEY_FUNCTION looks at the current tenant: each has entries of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from django_persist import Store
from django_persist.exceptions import InvalidStoreError
from tests.drivers.redis.cluster.conftest import FACTORY
from tests.drivers.redis.conftest import DJANGO, DJANGO_REDIS, MakeDriver
from tests.servers.valkey_servers import ValkeyServer

TENANT = ContextVar("TENANT", default="public")


def key_of_tenant(key: str, key_prefix: str, version: Any) -> str:
    return f"{TENANT.get()}:{version}:{key}"


@contextmanager
def tenant(name: str) -> Iterator[None]:
    token = TENANT.set(name)
    try:
        yield
    finally:
        TENANT.reset(token)


@pytest.fixture(params=[DJANGO_REDIS, DJANGO, "cluster"])
def store(request: pytest.FixtureRequest, make_driver: MakeDriver, server: ValkeyServer) -> Store:
    if request.param != "cluster":
        return Store(make_driver(server.url, BACKEND=request.param, KEY_FUNCTION=key_of_tenant))
    cluster = request.getfixturevalue("shared_cluster")
    for each in cluster.primaries:
        each.client.flushall()
    options = {"CONNECTION_FACTORY": FACTORY}
    return Store(make_driver(cluster.urls, KEY_FUNCTION=key_of_tenant, OPTIONS=options))


CALLS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get("k"),
    "get_item": lambda store: store.get_item("k"),
    "in": lambda store: "k" in store,
    "get_many": lambda store: store.get_many(["k", "l"]),
    "keys": lambda store: list(store.keys()),
    "items": lambda store: list(store.items()),
    "count": lambda store: store.count(),
    "remove": lambda store: store.remove("k"),
    "remove_many": lambda store: store.remove_many(["k", "l"]),
    "pop": lambda store: store.pop("k"),
    "touch": lambda store: store.touch("k"),
    "clear": lambda store: store.clear(),
}


def test_no_call_sees_or_changes_what_another_tenant_has(store: Store) -> None:
    nothing = {}
    with tenant("empty"):
        for name, call in CALLS.items():
            nothing[name] = call(store)
    with tenant("a"):
        store.set_many({"k": "of a", "l": 1})
    with tenant("b"):
        for name, call in CALLS.items():
            assert call(store) == nothing[name], name
        store.create("k", "of b")
        assert store.incr("l", 7) == 7
        assert store.update("m", lambda value: value + 1, 0) == 1
        assert store.get_or_create("n", 5) == (5, True)
    with tenant("a"):
        assert dict(store.get_many(["k", "l", "m", "n"])) == {"k": "of a", "l": 1}
        assert sorted(store.keys()) == ["k", "l"]
        assert store.clear() == 2
    with tenant("b"):
        assert {key: item.value for key, item in store.items()} == {
            "k": "of b",
            "l": 7,
            "m": 1,
            "n": 5,
        }


@pytest.mark.parametrize("other", ["b", "another"])
def test_a_listing_stays_with_the_tenant_for_whom_it_began(store: Store, other: str) -> None:
    numbers = {f"k{i}": i for i in range(2_500)}
    with tenant("a"):
        store.set_many(numbers)
        keys, items = store.keys(), store.items("k1")
    with tenant(other):
        store.set_many(dict.fromkeys(numbers, -1))
        assert sorted(keys) == sorted(numbers)
        assert {key: item.value for key, item in items} == {
            key: number for key, number in numbers.items() if key.startswith("k1")
        }


def test_threads_of_different_tenants(store: Store) -> None:
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        with tenant(f"tenant {number}"):
            barrier.wait(30)
            for i in range(50):
                store.set("k", number)
                store.set_many({"a": number, "b": number, f"k{i}": number})
                assert store.get("k") == number
                assert set(store.get_many(["a", "b", "k"]).values()) == {number}
                assert store.incr("counter") == i + 1
            assert store.count() == 54

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))


def test_all_keys_of_a_call_belong_to_one_tenant(
    make_driver: MakeDriver, server: ValkeyServer
) -> None:
    """Even if the KEY_FUNCTION gives another answer each time."""
    asked: list[int] = []

    def changing(key: str, key_prefix: str, version: Any) -> str:
        asked.append(1)
        return f"{len(asked) if len(asked) > 10 else 'x'}:{key}"

    store = Store(make_driver(server.url, KEY_FUNCTION=changing))
    asked += [1] * 10
    store.set_many({f"k{i}": i for i in range(100)})
    assert len({key.partition(b":")[0] for key in server.client.scan_iter()}) == 1


def test_a_key_function_that_fails_outside_a_request_is_refused(make_driver: MakeDriver) -> None:
    def failing(key: str, key_prefix: str, version: Any) -> str:
        raise LookupError("no tenant")

    with pytest.raises(InvalidStoreError, match="no tenant.*outside a request") as caught:
        make_driver("redis://127.0.0.1:1", KEY_FUNCTION=failing)
    assert caught.value.id == "django_persist.E012"
