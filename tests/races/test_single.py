"""Processes race for one key: no update is lost, one process wins, and there is no other error."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections

from django_persist import KEEP, REMOVE, Store, persist
from django_persist.exceptions import CounterRangeError, DuplicateKeyError, MissingKeyError
from tests.processes import PROCESSES, race

pytestmark = pytest.mark.usefixtures("way")

KEYS = [f"key:{i}" for i in range(40)]


def create_each(i: int, reconnect: bool = False) -> list[str]:
    """Create each key; return those created here. With `reconnect` each uses a new connection."""
    won = []
    for key in KEYS:
        if reconnect:
            connections.close_all()
        try:
            persist.create(key, i)
        except DuplicateKeyError:
            continue
        won.append(key)
    return won


def test_one_creator_wins(shared_store: Store) -> None:
    won = race(create_each)
    assert Counter(key for keys in won for key in keys) == Counter(KEYS)
    assert shared_store.get_many(KEYS) == {key: i for i, keys in enumerate(won) for key in keys}


def test_connections_that_open_and_close_cause_no_error(shared_store: Store) -> None:
    won = Counter(key for keys in race(create_each, True) for key in keys)
    assert won == Counter(KEYS)


def count(i: int) -> list[int]:
    return [persist.incr("counter", n % 3 - 1 or 1) for n in range(60)]


def test_every_increment_counts(shared_store: Store) -> None:
    sums = [total for totals in race(count) for total in totals]
    assert len(sums) == PROCESSES * 60
    assert shared_store.get("counter") == PROCESSES * sum(n % 3 - 1 or 1 for n in range(60))


def count_up(i: int) -> list[int]:
    return [persist.incr("counter", expires=1000 * (i + 1)) for _ in range(40)]


def test_each_sum_is_returned_once_and_only_the_first_call_gives_the_lifetime(
    shared_store: Store,
) -> None:
    sums = race(count_up)
    assert sorted(total for totals in sums for total in totals) == [
        *range(1, PROCESSES * 40 + 1),
    ]
    [first] = [i for i, totals in enumerate(sums) if totals[0] == 1]
    assert_lifetime(shared_store, "counter", 1000 * (first + 1))


def assert_lifetime(store: Store, key: str, seconds: float) -> None:
    """Assert that the entry was given this lifetime a short time ago."""
    item = store.get_item(key)
    assert item is not None and item.ttl is not None
    assert seconds - 100 < item.ttl.total_seconds() <= seconds + 1


def take_places(i: int) -> int:
    """Ask for a place 100 times; return how often there was one."""
    taken = 0
    for _ in range(100):
        with suppress(CounterRangeError):
            persist.incr("places", at_most=100)
            taken += 1
    return taken


# Its ten thousand calls take as long as all other races.
@pytest.mark.parametrize("way", ["the direct way"], indirect=True)
def test_a_hundred_places_are_given_to_a_hundred(shared_store: Store) -> None:
    assert sum(race(take_places)) == 100
    assert shared_store.get("places") == 100


def buy_or_restock(i: int) -> int:
    """Take from a stock that is never below 0, or put back; return what this process took."""
    took = 0
    for n in range(60):
        with suppress(CounterRangeError):
            by = 1 if (i + n) % 3 == 0 else -(n % 3)
            persist.incr("stock", by, at_least=0, at_most=5)
            took -= by
    return took


def test_a_stock_stays_in_its_bounds(shared_store: Store) -> None:
    shared_store.set("stock", 5)
    took = sum(race(buy_or_restock))
    assert shared_store.get("stock") == 5 - took
    assert 0 <= took <= 5


def replace_in_turn(i: int) -> int:
    done = 0
    for _ in range(25):
        item = persist.get_item("list")
        assert item is not None
        done += persist.replace("list", [*item.value, i], item.version)
    return done


def test_no_replace_is_lost(shared_store: Store) -> None:
    shared_store.set("list", [])
    done = race(replace_in_turn)
    assert Counter(shared_store.get("list")) == +Counter(dict(enumerate(done)))


def remove_what_was_seen(i: int) -> list[int]:
    """Half of the processes write new values, the others remove what they have seen."""
    numbers = []
    for n in range(40):
        if i % 2:
            if not persist.create_many({"ticket": i * 100 + n}):
                numbers.append(i * 100 + n)
        elif (item := persist.get_item("ticket")) and persist.remove(
            "ticket", version=item.version
        ):
            numbers.append(item.value)
    return numbers


def test_a_removed_version_is_the_one_that_was_seen(shared_store: Store) -> None:
    outcomes = race(remove_what_was_seen)
    made = [number for numbers in outcomes[1::2] for number in numbers]
    removed = [number for numbers in outcomes[::2] for number in numbers]
    left = shared_store.get("ticket")
    assert sorted(made) == sorted([*removed, *([] if left is None else [left])])


def create_the_same(i: int) -> list[str]:
    """Create keys in several calls, with the same values as the other processes."""
    won: list[str] = []
    for start in range(0, len(KEYS), 8):
        part = random.sample(KEYS[start : start + 8], 8)
        won += set(part).difference(persist.create_many(dict.fromkeys(part, "same")))
    return won


def test_one_create_many_wins_whatever_its_values(shared_store: Store) -> None:
    for _ in range(3):
        shared_store.clear()
        won = race(create_the_same)
        assert Counter(key for keys in won for key in keys) == Counter(KEYS)


def add_own(i: int) -> None:
    for n in range(15):
        persist.update("list", lambda numbers, n=n: [*numbers, i * 100 + n], [])  # type: ignore[misc]


def test_no_update_is_lost(shared_store: Store) -> None:
    race(add_own)
    numbers = shared_store.get("list")
    assert sorted(numbers) == [i * 100 + n for i in range(PROCESSES) for n in range(15)]
    for i in range(PROCESSES):
        own = [number for number in numbers if number // 100 == i]
        assert own == sorted(own)


def take_each(i: int) -> list[int]:
    taken = [persist.pop(key) for key in random.sample(KEYS, len(KEYS))]
    return [value for value in taken if value is not None]


def test_each_value_is_popped_once(shared_store: Store) -> None:
    shared_store.set_many({key: i for i, key in enumerate(KEYS)})
    taken = [value for values in race(take_each) for value in values]
    assert sorted(taken) == list(range(len(KEYS)))
    assert shared_store.count() == 0


def put_or_take(i: int) -> list[Any]:
    """Half of the processes create the ticket, the others pop it."""
    if i % 2:
        return [ticket for _ in range(60) if (ticket := persist.pop("ticket")) is not None]
    put = []
    for n in range(60):
        try:
            persist.create("ticket", [i, n])
        except DuplicateKeyError:
            continue
        put.append([i, n])
    return put


def test_what_is_created_is_popped_once_or_still_there(shared_store: Store) -> None:
    outcomes = race(put_or_take)
    put = [ticket for tickets in outcomes[::2] for ticket in tickets]
    taken = [ticket for tickets in outcomes[1::2] for ticket in tickets]
    left = shared_store.pop("ticket")
    assert sorted(put) == sorted([*taken, *([left] if left else [])])


def claim(i: int) -> list[tuple[int, bool]]:
    return [persist.get_or_create(key, i) for key in KEYS]


def test_one_of_many_creates_and_all_get_its_value(shared_store: Store) -> None:
    for outcomes in zip(*race(claim), strict=True):
        [creator] = [i for i, (_, created) in enumerate(outcomes) if created]
        assert {value for value, _ in outcomes} == {creator}


def touch_or_keep(i: int) -> list[tuple[int, float]]:
    """Process 0 gives lifetimes and reads each back; the others write and keep them."""
    if i:
        for _ in range(25):
            persist.update("count", lambda n: n + 1)
            persist.set("text", i, expires=KEEP)
            persist.set_many({"text": i, "more": i}, expires=KEEP)
        return []
    given = []
    for n in range(1, 40):
        for key in ("count", "text", "more"):
            assert persist.touch(key, 1000 * n)
            item = persist.get_item(key)
            assert item is not None and item.ttl is not None
            given.append((1000 * n, item.ttl.total_seconds()))
    return given


def test_a_touch_is_kept_by_writes_with_keep(shared_store: Store) -> None:
    shared_store.set_many({"count": 0, "text": "", "more": ""}, expires=500)
    [given, *_] = race(touch_or_keep)
    assert len(given) == 39 * 3
    assert [seconds for seconds, left in given if not seconds - 100 < left <= seconds + 1] == []
    for key in ("count", "text", "more"):
        assert_lifetime(shared_store, key, 39_000)
    assert shared_store.get("count") == 25 * (PROCESSES - 1)


def add_or_collect(i: int) -> int:
    """Half of the processes add 1, the others remove the sum; return the total of this one."""
    moved = 0
    for _ in range(30):
        if i % 2:
            persist.update("sum", lambda n: n + 1, 0)
            moved += 1
            continue
        seen: list[int] = []

        def collect(n: int, seen: list[int] = seen) -> Any:
            seen.append(n)
            return REMOVE

        try:
            persist.update("sum", collect)
        except MissingKeyError:
            continue
        moved += seen[-1]
    return moved


def test_updates_that_add_and_updates_that_remove_lose_nothing(shared_store: Store) -> None:
    moved = race(add_or_collect)
    assert sum(moved[1::2]) == PROCESSES // 2 * 30
    assert sum(moved[::2]) + shared_store.get("sum", 0) == sum(moved[1::2])
