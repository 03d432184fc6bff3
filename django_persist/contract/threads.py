"""Eight threads at once: nothing is lost, and nothing is returned twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any

from django.db import connections

from ..exceptions import CounterRangeError, DuplicateKeyError
from ..expiry import KEEP
from ..store import Store
from .base import Contract, Elapse

THREADS = 8
ROUNDS = 50


def together(work: Callable[[int], Any]) -> list[Any]:
    """Call `work` with 0 to 7 at the same moment, each in its own thread; return the results."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        finally:
            # The database driver has one connection for each thread.
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def is_counted(store: Store, key: str, by: int, **bounds: int) -> bool:
    """Return whether a counter took a step within its bounds."""
    try:
        store.incr(key, by, **bounds)
    except CounterRangeError:
        return False
    return True


class ThreadsContract(Contract):
    """Eight threads at once: nothing is lost, and nothing is returned twice."""

    def test_every_incr_counts(self, store: Store) -> None:
        totals = together(lambda number: [store.incr("a") for _ in range(ROUNDS)])
        assert sorted(chain.from_iterable(totals)) == list(range(1, 8 * ROUNDS + 1))
        assert store.get("a") == 8 * ROUNDS

    def test_every_update_counts(self, store: Store) -> None:
        def append(mark: list[int], old: list[list[int]]) -> list[list[int]]:
            return [*old, mark]

        def work(number: int) -> None:
            for round_ in range(ROUNDS):
                store.update("a", partial(append, [number, round_]), list)

        together(work)
        found = store.get("a")
        assert len(found) == 8 * ROUNDS
        for number in range(8):
            assert [r for n, r in found if n == number] == list(range(ROUNDS))

    def test_one_create_wins(self, store: Store, elapse: Elapse) -> None:
        store.set_many({f"k{i}": "expired" for i in range(0, ROUNDS, 2)}, expires=0.01)
        elapse(0.02)

        def work(number: int) -> list[str]:
            won = []
            for i in range(ROUNDS):
                try:
                    store.create(f"k{i}", number)
                except DuplicateKeyError:
                    continue
                won.append(f"k{i}")
            return won

        winners = {key: number for number, keys in enumerate(together(work)) for key in keys}
        assert store.get_many([f"k{i}" for i in range(ROUNDS)]) == winners
        assert len(winners) == ROUNDS

    def test_one_create_many_wins(self, store: Store, elapse: Elapse) -> None:
        keys = [f"k{i}" for i in range(ROUNDS)]
        store.set_many(dict.fromkeys(keys[::2], "expired"), expires=0.01)
        elapse(0.02)

        def work(number: int) -> list[str]:
            won: list[str] = []
            for start in range(0, ROUNDS, 5):
                # The same value for all, so that only the result says who created it.
                part = keys[start : start + 5][:: 1 if number % 2 else -1]
                lost = store.create_many(dict.fromkeys(part, "created"))
                won += set(part).difference(lost)
            return won

        assert Counter(chain.from_iterable(together(work))) == Counter(keys)
        assert store.get_many(keys) == dict.fromkeys(keys, "created")

    def test_bounds_hold_for_eight_threads(self, store: Store) -> None:
        def work(number: int) -> int:
            return sum(is_counted(store, "a", 1, at_most=ROUNDS) for _ in range(ROUNDS))

        assert sum(together(work)) == ROUNDS
        assert store.get("a") == ROUNDS

    def test_one_replace_of_a_version_wins(self, store: Store) -> None:
        store.set("a", -1)

        def work(number: int) -> list[int]:
            won = []
            for round_ in range(ROUNDS):
                item = store.get_item("a")
                assert item is not None
                if store.replace("a", 8 * round_ + number, item.version):
                    won.append(item.value)
            return won

        # What each replaced: nobody's value was replaced twice.
        replaced = list(chain.from_iterable(together(work)))
        assert sorted(replaced) == sorted(set(replaced))
        assert -1 in replaced

    def test_one_pop_gets_the_value(self, store: Store) -> None:
        keys = [f"k{i}" for i in range(ROUNDS)]
        store.set_many({key: key for key in keys})
        popped = together(lambda number: [store.pop(key) for key in keys])
        assert Counter(filter(None, chain.from_iterable(popped))) == Counter(keys)
        assert store.count() == 0

    def test_one_remove_deletes_the_entry(self, store: Store) -> None:
        keys = [f"k{i}" for i in range(ROUNDS)]
        store.set_many(dict.fromkeys(keys, 1))
        removed = together(
            lambda number: (
                sum(store.remove(key) for key in keys) if number else store.remove_many(keys)
            )
        )
        assert sum(removed) == ROUNDS

    def test_one_get_or_create_creates(self, store: Store) -> None:
        keys = [f"k{i}" for i in range(ROUNDS)]
        results = together(lambda number: [store.get_or_create(key, number) for key in keys])
        for i, key in enumerate(keys):
            of_key = [result[i] for result in results]
            assert [created for _, created in of_key].count(True) == 1
            assert {value for value, _ in of_key} == {store.get(key)}

    def test_writers_of_many_keys_never_deadlock(self, store: Store) -> None:
        keys = [f"k{i}" for i in range(40)]

        def work(number: int) -> None:
            mine = keys[::-1] if number % 2 else keys
            for round_ in range(10):
                match number % 4:
                    case 3 if round_ % 3 == 1:
                        store.remove_many(mine)
                    case 2:
                        store.set_many(dict.fromkeys(mine, number), expires=KEEP)
                    case _:
                        store.set_many(dict.fromkeys(mine, number), expires=60)

        together(work)
        assert store.get_many(keys).keys() == set(keys)

    def test_a_reader_never_sees_half_of_set_many(self, store: Store) -> None:
        keys = [f"k{i}" for i in range(20)]
        store.set_many(dict.fromkeys(keys, -1))

        writing = set(range(4))

        def read() -> None:
            found = store.get_many(keys)
            assert len(found) == len(keys)
            if store.driver.supports_atomic_set_many:
                assert len(set(found.values())) == 1

        def work(number: int) -> None:
            if number < 4:
                try:
                    for round_ in range(10):
                        store.set_many(dict.fromkeys(keys, number * 10 + round_))
                finally:
                    writing.discard(number)
            # Read until no thread writes: a few reads could be over before a write has begun.
            while number >= 4 and writing:
                read()

        together(work)
