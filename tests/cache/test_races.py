"""Eight processes use one cache at the same moment."""

from __future__ import annotations

from collections import Counter

import pytest

from django_persist import Store
from django_persist.cache import PersistCache
from tests.processes import race

PROCESSES = 8
KEYS = [f"key {i}" for i in range(20)]


@pytest.fixture
def cache(shared_store: Store) -> PersistCache:
    return PersistCache("default", {})


def count(i: int) -> list[int]:
    """Count up, as most counters do."""
    cache = PersistCache("default", {})
    return [cache.incr("counter") for _ in range(30)]


def test_every_incr_counts(cache: PersistCache) -> None:
    cache.set("counter", 1, timeout=1000)
    sums = [total for totals in race(count, processes=PROCESSES) for total in totals]
    assert sorted(sums) == list(range(2, PROCESSES * 30 + 2))
    item = cache.store.get_item(":1:counter")
    assert item is not None
    assert item.ttl is not None
    assert 900 < item.ttl.total_seconds() <= 1000


def cross_zero(i: int) -> None:
    """Count up and down, on both sides of 0."""
    cache = PersistCache("default", {})
    for n in range(15):
        cache.incr("counter", (-2, 3, -1)[(n + i) % 3])


def test_every_incr_counts_around_zero(cache: PersistCache) -> None:
    cache.set("counter", 0)
    race(cross_zero, processes=PROCESSES)
    assert cache.get("counter") == 0


def limit(i: int) -> int:
    """Do what a rate limit of five does; return how often it let this process through."""
    cache, let = PersistCache("default", {}), 0
    for key in KEYS:
        for _ in range(2):
            let += (1 if cache.add(key, 1, 60) else cache.incr(key)) <= 5
    return let


def test_a_limit_of_five_lets_five_through(cache: PersistCache) -> None:
    assert sum(race(limit, processes=PROCESSES)) == 5 * len(KEYS)


def delete_or_count(i: int) -> tuple[int, int]:
    """Count, and delete half of the time; return how often there was no counter, and deletions."""
    cache, missing, deleted = PersistCache("default", {}), 0, 0
    for n in range(20):
        if (n + i) % 4 == 0:
            deleted += cache.delete("counter")
            continue
        try:
            cache.incr("counter")
        except ValueError:
            missing += 1
            cache.add("counter", 1, 1000)
    return missing, deleted


def test_an_incr_never_starts_a_counter(cache: PersistCache) -> None:
    """A counter that `incr` started would have no timeout."""
    for _ in range(3):
        race(delete_or_count, processes=PROCESSES)
        item = cache.store.get_item(":1:counter")
        assert item is None or item.expires_at is not None


def claim(i: int) -> list[str]:
    cache = PersistCache("default", {})
    return [key for key in KEYS if cache.add(key, i)]


def test_one_add_wins(cache: PersistCache) -> None:
    won = race(claim, processes=PROCESSES)
    assert Counter(key for keys in won for key in keys) == Counter(KEYS)
    assert cache.get_many(KEYS) == {key: i for i, keys in enumerate(won) for key in keys}


def clear_or_keep(i: int) -> int:
    """Half of the processes clear their cache, the others write to another on the same store."""
    cache = PersistCache("default", {"KEY_PREFIX": "a" if i % 2 else ""})
    for n in range(10):
        cache.set(f"{i} {n}", n)
        if i % 2:
            cache.clear()
    return len(cache.get_many([f"{i} {n}" for n in range(10)]))


def test_clear_takes_nothing_from_another_cache(cache: PersistCache) -> None:
    assert race(clear_or_keep, processes=PROCESSES)[::2] == [10] * (PROCESSES // 2)
