"""How MemoryCache keeps entries and deletes expired ones."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from django_persist import Store
from django_persist.cache import MemoryCache
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as traveller:
        yield traveller


@pytest.fixture
def cache() -> Iterator[MemoryCache]:
    cache = MemoryCache("memory", {})
    yield cache
    cache.clear()


def test_nothing_is_ever_evicted() -> None:
    cache = MemoryCache("evicted", {"OPTIONS": {"MAX_ENTRIES": 10, "CULL_FREQUENCY": 2}})
    for i in range(10_000):
        cache.set(f"k{i}", i, timeout=3600)
    assert len(cache.memory.slots) == 10_000
    assert cache.get_many([f"k{i}" for i in range(10_000)]) == {f"k{i}": i for i in range(10_000)}
    cache.clear()


steps = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("abcd"), st.none() | st.integers(-1, 6)),
    st.tuples(st.just("touch"), st.sampled_from("abcd"), st.none() | st.integers(-1, 6)),
    st.tuples(st.just("delete"), st.sampled_from("abcd"), st.none()),
    st.tuples(st.just("wait"), st.none(), st.integers(1, 3)),
)


@given(st.lists(steps, max_size=60))
def test_live_entries_stay_and_expired_ones_go_whatever_is_done(
    do: list[tuple[str, str, int | None]],
) -> None:
    cache = MemoryCache("whatever", {})
    cache.clear()
    ends: dict[str, float] = {}
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        for number, (what, key, seconds) in enumerate(do):
            now = time.time()
            ends = {key: end for key, end in ends.items() if end > now}
            end = math.inf if seconds is None else now + seconds
            if what == "wait":
                clock.shift(seconds or 0)
            elif what == "delete":
                assert cache.delete(key) is (ends.pop(key, None) is not None)
            elif what == "touch":
                assert cache.touch(key, seconds) is (key in ends)
                ends |= {key: end} if key in ends else {}
            else:
                cache.set(key, number, seconds)
                ends[key] = end
        alive = {key for key, end in ends.items() if end > time.time()}
        living = {cache.make_key(key) for key in alive}
        mortal = {key for key, slot in cache.memory.slots.items() if slot.expires_at}
        moment = time.time_ns() // 1000
        dead = cache.memory.slots.keys() - living
        assert sorted(cache.memory.expired(moment)) == sorted(dead)
        assert sorted(cache.memory.expired(moment + 10_000_000)) == sorted(mortal)
        assert cache.get_many("abcd").keys() == alive
        clock.shift(10)
        cache.get("other")
        assert len(cache.memory.slots) == list(ends.values()).count(math.inf)


@pytest.mark.parametrize("call", ["get", "set", "add"])
def test_later_calls_delete_expired_entries(
    cache: MemoryCache, clock: time_machine.Traveller, call: str
) -> None:
    for i in range(1000):
        cache.set(f"k{i}", i, timeout=10 + i % 5)
    cache.set("stays", 1, timeout=3600)
    clock.shift(20)
    for i in range(100):
        getattr(cache, call)(*((f"new{i}",) if call == "get" else (f"new{i}", 1)))
    assert len(cache.memory.slots) == 1 + (0 if call == "get" else 100)
    assert cache.get("stays") == 1


def test_a_second_that_is_used_again_lists_each_entry_once(
    cache: MemoryCache, clock: time_machine.Traveller
) -> None:
    cache.set("first", 1, timeout=10)
    cache.set("gone", 1, timeout=20)
    cache.delete("gone")
    cache.set("later", 1, timeout=20)
    moment = int(time.time() + 30) * 1_000_000
    assert list(cache.memory.expired(moment)) == [":1:first", ":1:later"]


def test_a_purge_leaves_what_expires_later_in_the_same_second(
    clock: time_machine.Traveller,
) -> None:
    store = Store(OwnMemoryDriver(Memory()))
    store.set("gone", 1, expires=0.2)
    store.set("alive", 1, expires=0.7)
    clock.shift(0.5)
    assert store.driver.expired() == 1
    assert store.purge() == 1
    assert list(store.keys()) == ["alive"]


def test_a_read_just_before_an_entry_expires_does_not_keep_it(
    clock: time_machine.Traveller,
) -> None:
    store = Store(OwnMemoryDriver(Memory()))
    store.set("key", 1, expires=0.7)
    clock.shift(0.5)
    assert store.get("key") == 1
    clock.shift(0.5)
    assert store.purge() == 1


def test_one_call_deletes_a_bounded_number_of_expired_entries(
    cache: MemoryCache, clock: time_machine.Traveller
) -> None:
    for i in range(1000):
        cache.set(f"k{i}", i, timeout=1 + i % 300)
    clock.shift(400)
    cache.get("other")
    assert 900 < len(cache.memory.slots) < 1000


class CountedSet(set[str]):
    """A set that counts how often it is iterated over: that takes as long as it once was large."""

    iterations = 0

    def __iter__(self) -> Iterator[str]:
        self.iterations += 1
        return super().__iter__()


def test_the_keys_of_a_second_are_looked_through_once(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[CountedSet] = []

    def make() -> CountedSet:
        made.append(CountedSet())
        return made[-1]

    monkeypatch.setattr("django_persist.memory.set", make, raising=False)
    store = Store(OwnMemoryDriver(memory := Memory()))
    store.set_many({f"k{i}": i for i in range(1000)}, expires=10)
    clock.shift(20)
    for _ in range(100):
        store.get("other")
    assert not memory.slots
    # An expiry at the end of a second can spread them over two.
    assert len(made) <= 2
    assert all(each.iterations <= 1 for each in made)


def test_a_purge_in_the_middle_of_a_sweep_leaves_nothing_behind(
    clock: time_machine.Traveller,
) -> None:
    store = Store(OwnMemoryDriver(memory := Memory()))
    store.set_many({f"k{i}": i for i in range(1000)}, expires=10)
    clock.shift(20)
    store.get("other")  # It frees the first ones.
    assert memory._doomed
    store.purge()
    assert not memory.slots
    assert not memory._doomed


def test_a_read_does_not_wait_for_a_call_that_deletes(
    cache: MemoryCache, clock: time_machine.Traveller
) -> None:
    cache.set("dead", 1, timeout=1)
    cache.set("alive", 1)
    clock.shift(10)
    with ThreadPoolExecutor() as pool, cache.memory.lock:
        assert pool.submit(cache.get, "alive").result(timeout=10) == 1
        assert pool.submit(cache.get, "dead").result(timeout=10) is None
    assert len(cache.memory.slots) == 2
    cache.get("alive")
    assert len(cache.memory.slots) == 1


@pytest.mark.parametrize("how", ["set", "touch", "delete and add"])
def test_an_entry_that_is_renewed_leaves_nothing_behind(
    cache: MemoryCache, clock: time_machine.Traveller, how: str
) -> None:
    def renew(timeout: int) -> None:
        if how == "touch":
            cache.touch("a", timeout)
        elif how == "set":
            cache.set("a", 1, timeout)
        else:
            cache.delete("a")
            cache.add("a", 1, timeout)

    cache.set("a", 1)
    renew(86400)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for second in range(4_000):
            renew(100_000 + second)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert cache.get("a") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_of_the_parent_does_not_block_a_forked_child() -> None:
    code = (
        "import os, sys\n"
        "from django.conf import settings\n"
        "settings.configure()\n"
        "from django_persist.cache import MemoryCache\n"
        "cache = MemoryCache('x', {})\n"
        "cache.set('a', 1)\n"
        "cache.memory.lock.acquire()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os._exit(0 if cache.get('a') == 1 else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
