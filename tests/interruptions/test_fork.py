"""A process that forks after it used a store: each child gets what is its own."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from django_persist import Store, persist
from tests import aliases
from tests.conftest import BACKENDS, DATABASE_SERVERS, OpenStore
from tests.processes import race

CHILDREN = 4
READS = 50

pytestmark = [
    pytest.mark.usefixtures("way"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


def forked(work: Callable[[int], None]) -> list[int]:
    """Call `work` in a child each with 0, 1, ...; return their exit statuses.

    A child ends as programs do: what it still has is freed, which can close what isn't its own.
    """
    sys.stdout.flush()
    children = []
    for number in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work(number)
                connections.close_all()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def read_own(number: int) -> None:
    for _ in range(READS):
        assert persist.get(f"key {number}") == number
    assert persist.incr("children") > 0
    assert persist.update(f"key {number}", lambda old: old + 100) == number + 100


def preloaded(i: int) -> list[int]:
    """Read before the fork, as an application server does that loads the site once."""
    assert persist.get("key 0") == 0
    statuses = forked(read_own)
    for number in range(CHILDREN):
        assert persist.get(f"key {number}") == number + 100
    return statuses


def test_each_child_reads_its_own_key(shared_store: Store) -> None:
    shared_store.set_many({f"key {number}": number for number in range(CHILDREN)})
    assert race(preloaded, processes=1) == [[0] * CHILDREN]
    assert shared_store.get("children") == CHILDREN


def fork_again(number: int) -> None:
    assert persist.get(f"key {number}") == number
    assert forked(lambda grandchild: read_only(number)) == [0] * CHILDREN
    assert persist.incr("children") > 0


def read_only(number: int) -> None:
    for _ in range(READS):
        assert persist.get(f"key {number}") == number
    assert persist.incr("grandchildren") > 0


def preloaded_twice(i: int) -> list[int]:
    assert persist.get("key 0") == 0
    statuses = forked(fork_again)
    assert persist.get("key 0") == 0
    return statuses


def test_a_child_can_fork_too(shared_store: Store) -> None:
    shared_store.set_many({f"key {number}": number for number in range(CHILDREN)})
    assert race(preloaded_twice, processes=1) == [[0] * CHILDREN]
    assert shared_store.get("children") == CHILDREN
    assert shared_store.get("grandchildren") == CHILDREN**2


def with_a_pool(i: int, work: Callable[[int], list[int]]) -> list[int]:
    """Work with psycopg's pool, which keeps connections and threads of its own."""
    try:
        return work(i)
    finally:
        connections["pooled"].close()
        connections["pooled"].close_pool()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [False, True])
def test_each_child_has_a_pool_of_its_own(
    open_store: OpenStore, settings: Any, threads: bool
) -> None:
    store = open_store("postgresql")
    store.set_many({f"key {number}": number for number in range(CHILDREN)})
    pooled = aliases.another(
        "postgresql", CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 2, "max_size": 4}}
    )
    with aliases.alias("pooled", pooled):
        settings.PERSIST = {"default": {**BACKENDS["postgresql"], "OPTIONS": {"using": "pooled"}}}
        work = with_threads if threads else preloaded
        assert race(with_a_pool, work, processes=1) == [[0] * CHILDREN]
    assert store.get("children") == CHILDREN
    assert store.get("threads") == (3 if threads else None)


def with_threads(i: int) -> list[int]:
    """Fork while other threads have connections, which the child must not close either."""
    forking, forked_ = threading.Barrier(4), threading.Event()
    failures: list[Any] = []

    def use() -> None:
        try:
            assert persist.get("key 0") == 0
            forking.wait(30)
            forked_.wait(60)
            assert persist.incr("threads") > 0
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    forking.wait(30)
    statuses = forked(read_own)
    forked_.set()
    for thread in threads:
        thread.join()
    assert failures == []
    return statuses


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_leaves_the_connections_of_other_threads_alone(shared_store: Store) -> None:
    shared_store.set_many({f"key {number}": number for number in range(CHILDREN)})
    assert race(with_threads, processes=1) == [[0] * CHILDREN]
    assert shared_store.get("threads") == 3


def in_a_transaction(i: int, using: str) -> list[int]:
    with transaction.atomic(using):
        persist.set("of the parent", "written")
        statuses = forked(_outside)
        persist.set("later", "written")
    return statuses


def _outside(number: int) -> None:
    assert not persist.driver.in_transaction()
    assert persist.get("of the parent") is None
    assert persist.get(f"key {number}") == number


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_a_child_is_not_inside_the_transaction_of_its_parent(
    server: str, open_store: OpenStore
) -> None:
    store = open_store(server)
    store.set_many({f"key {number}": number for number in range(CHILDREN)})
    using = getattr(store.driver, "using", "")
    assert race(in_a_transaction, using, processes=1) == [[0] * CHILDREN]
    assert store.get_many(["of the parent", "later"]) == {
        "of the parent": "written",
        "later": "written",
    }
