"""Exceptions thrown into the thread that calls a store, at random moments: the next call is right.

Python delivers them between two of its own instructions: not while a client waits for the server,
but right after. Some systems end tasks in this way, and so do the stop buttons of notebooks.
"""

from __future__ import annotations

import ctypes
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_persist import KEEP, Store, persist
from django_persist.exceptions import DuplicateKeyError
from tests.conftest import BACKENDS, REDIS, OpenStore
from tests.extent import LONG
from tests.interruptions.conftest import CountInterruptions, behind
from tests.interruptions.moments import LimitError

pytestmark = pytest.mark.costly

THROWN = 5_000 if LONG else 120

MANY = {f"{{many}} {i}": i for i in range(50)}
"""In one slot of a cluster, so that they are set all or not at all."""


class Caller:
    """Makes calls until it has been interrupted often enough, and checks what they return."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_done = False
        self.interrupted = self.completed = self.counted = self.rounds = 0
        self.failure: BaseException | None = None
        store.set_many({"there": "value", "list": []})

    def run(self) -> None:
        try:
            while not self.is_done:
                try:
                    while not self.is_done:
                        self.rounds += 1
                        self.call(self.rounds)
                        self.check(self.rounds)
                except LimitError:
                    self.interrupted += 1
        except BaseException as error:
            self.failure = error
        finally:
            connections.close_all()

    def call(self, number: int) -> None:
        store = self.store
        if number % 5 == 0:
            store.driver.close()
            connections.close_all()
        calls: list[tuple[Callable[[], object], object]] = [
            (lambda: store.get("there"), "value"),
            (lambda: "missing" in store, False),
            (lambda: store.touch("there", None), True),
            (lambda: store.set("there", "value", expires=KEEP), None),
            (lambda: store.set_many(MANY), None),
            (lambda: store.get_many(["there", "missing"]), {"there": "value"}),
            (lambda: store.get_or_create("there", 1), ("value", False)),
            (lambda: store.pop("missing", "default"), "default"),
            (store.purge, 0),
            (lambda: set(store.keys("the")), {"there"}),
        ]
        call, expected = calls[number % len(calls)]
        assert call() == expected
        store.update("list", lambda old: [*old, len(old)][-20:] if len(old) < 20 else [])

    def check(self, number: int) -> None:
        store = self.store
        counted = store.incr("counter")
        self.completed += 1
        # Each interruption may have come after the server had counted.
        assert self.counted < counted <= self.completed + self.interrupted
        self.counted = counted
        store.set("last", number)
        assert store.get("last") == number
        try:
            store.create("there", "another")
        except DuplicateKeyError:
            return
        raise AssertionError("It was created twice.")


def throw(caller: Caller) -> None:
    """Interrupt a caller that runs in another thread THROWN times."""
    thread = threading.Thread(target=caller.run)
    thread.start()
    try:
        started = time.perf_counter()
        wait_until(lambda: caller.rounds >= 20, thread)
        typical = (time.perf_counter() - started) / 20
        for number in range(THROWN):
            rounds = caller.rounds
            wait_until(lambda rounds=rounds: caller.rounds > rounds, thread)  # type: ignore[misc]
            time.sleep(random.uniform(0, typical))
            deadline = 0.0
            while caller.interrupted == number and thread.is_alive():
                # Repeated, because Python drops what is raised within a destructor.
                if time.monotonic() >= deadline:
                    throw_into(thread)
                    deadline = time.monotonic() + 0.5
                time.sleep(0.0002)
    finally:
        caller.is_done = True
        thread.join(30)
    assert not thread.is_alive()
    if caller.failure is not None:
        raise caller.failure


def wait_until(is_so: Callable[[], bool], thread: threading.Thread) -> None:
    while not is_so() and thread.is_alive():
        time.sleep(0.0002)


def throw_into(thread: threading.Thread) -> None:
    thrown = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(LimitError)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(*thrown)


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Let the other thread run at once. By default it may wait for 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=[*BACKENDS, "sentinel", "cluster"])
def any_store(request: pytest.FixtureRequest, open_store: OpenStore, settings: Any) -> Store:
    """A store on each server, and on each kind of Redis."""
    if request.param in BACKENDS:
        return open_store(request.param)
    if request.param == "sentinel":
        alias = behind(request.getfixturevalue("sentinel"))
    else:
        options = {"CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory"}
        cluster = request.getfixturevalue("shared_cluster")
        alias = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": cluster.urls,
            "OPTIONS": options,
        }
    settings.CACHES = {**settings.CACHES, "persist": alias}
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "persist"}}}
    persist.clear()
    return persist


def test_the_call_after_a_thrown_exception_is_right(
    any_store: Store, request: pytest.FixtureRequest, count_interruptions: CountInterruptions
) -> None:
    caller = Caller(any_store)
    throw(caller)
    assert caller.interrupted >= THROWN
    assert any_store.get("there") == "value"
    assert any_store.get_item("there").ttl is None  # type: ignore[union-attr]
    assert caller.counted <= any_store.incr("counter", 0)
    assert any_store.get_many(MANY) in ({}, MANY)
    listed = any_store.get("list")
    assert listed == list(range(len(listed)))
    assert {*any_store.keys()} <= {"there", "list", "counter", "last", *MANY}
    any_store.clear()
    count_interruptions("a thrown exception", request.node.callspec.id, caller.interrupted)
