"""incr: an atomic counter of 64 bits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import CounterRangeError, DecodeError, InvalidExpiryError, PersistError
from ..store import Item, Store
from .base import Contract, Elapse, outcome

MOST = 2**63 - 1
LEAST = -(2**63)
HOUR = timedelta(hours=1)
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)

STARTS = [1, 0, -1, 1000, 2**31, 2**32, 2**53 + 1, -(2**53) - 1, MOST, LEAST]

# What a counter holds, and steps from there: to the ends of the range and past them, and where
# floats, 32 bits or decimal digits would go wrong.
SUMS: dict[int, list[int]] = {
    0: [0, 1, -1, 2**31, -(2**32), 2**53 + 1, MOST, LEAST],
    5: [-9, MOST - 5, MOST - 4],
    -1: [0, 1, -(2**62), MOST, LEAST + 1, LEAST],
    -5: [9, LEAST],
    10: [-1, -9],
    99: [1, MOST],
    2**53: [0, 1, -1, 2**53 + 1],
    MOST - 1: [1, 9, -(2**62)],
    LEAST + 1: [-1, -9, MOST],
    MOST: [0, 1, -1, -9, MOST, LEAST],
    LEAST: [0, 1, -1, 9, MOST, LEAST, -(2**62)],
}
NOT_INTEGERS: list[Any] = [
    *("1", "", " 1", "text"),
    *(1.0, -0.0, 1.5, 1e22),
    *(True, False, None),
    *([], [1], {}, {"1": 1}),
]
# A counter, a step, and the bounds of the call: at, within and past each of them, and where floats
# or a comparison of digits would go wrong.
BOUNDED: list[tuple[int, int, int, int]] = [
    *((0, 3, 0, at_most) for at_most in (2, 3, 4)),
    *((9, 1, 0, at_most) for at_most in (9, 10, 11)),
    *((10, -1, at_least, 99) for at_least in (8, 9, 10)),
    *((1, -3, at_least, 0) for at_least in (-3, -2, -1)),
    *((-9, -1, at_least, 0) for at_least in (-11, -10, -9)),
    *((-10, 1, LEAST, at_most) for at_most in (-10, -9, -8)),
    *((-1, by, -1, 1) for by in (-1, 0, 1, 2, 3)),
    *((5, 0, at_least, 9) for at_least in (4, 5, 6)),
    *((50, by, 0, 10) for by in (-39, -40, -1, 1, 0)),
    *((-50, by, 0, 10) for by in (49, 50, 60, 61)),
    *((2**53, 1, 0, at_most) for at_most in (2**53, 2**53 + 1)),
    *((-(2**53), -1, at_least, 0) for at_least in (-(2**53), -(2**53) - 1)),
    *((MOST - 1, by, 0, MOST) for by in (1, 2)),
    *((LEAST + 1, by, LEAST, 0) for by in (-1, -2)),
    *((LEAST, by, 0, 5) for by in (MOST, 1, -1)),
    *((MOST, by, -5, -1) for by in (LEAST, -1, 1)),
    (0, MOST, LEAST, -5),
    (0, LEAST, 5, MOST),
    (100, -20, 9, 80),
    (100, -20, 81, 90),
]
PAST_THE_RANGE = [MOST + 1, LEAST - 1, 2**64, -(2**64), 10**18 * 99, 10**30]


def is_refused(outcome: object, error: type[PersistError], key: str) -> bool:
    """Return whether a call raised the error, with its key in the message."""
    return isinstance(outcome, error) and repr(key) in str(outcome)


class CountersContract(Contract):
    """incr: an atomic counter of 64 bits."""

    def test_a_counter_starts_at_zero(self, store: Store) -> None:
        assert store.incr("a") == 1
        assert store.incr("a") == 2
        assert store.incr("a", 40) == 42
        assert store.get("a") == 42
        assert type(store.get("a")) is int

    @pytest.mark.parametrize("expires", [None, HOUR, MOMENT], ids=["never", "lifetime", "moment"])
    def test_a_counter_starts_by_whatever_is_given(self, store: Store, expires: Any) -> None:
        for by in STARTS:
            back = -1 if by > 0 else 1
            assert store.incr(f"{by}", by, expires=expires) == by
            assert store.incr(f"{by}", 0, expires=expires) == by
            assert store.incr(f"{by}", back, expires=expires) == by + back
        assert store.get_many(list(map(str, STARTS))) == {
            f"{by}": by - 1 if by > 0 else by + 1 for by in STARTS
        }

    def test_the_sum_is_exact_or_refused(self, store: Store) -> None:
        sums = {f"{start} + {by}": (start, by) for start, steps in SUMS.items() for by in steps}
        store.set_many({name: start for name, (start, _) in sums.items()}, expires=MOMENT)
        expected = {}
        for name, (start, by) in sums.items():
            total = start + by
            if LEAST <= total <= MOST:
                assert store.incr(name, by) == total, name
            else:
                assert is_refused(outcome(store.incr, name, by), CounterRangeError, name), name
                total = start
            expected[name] = Item(total, MOMENT)
        assert dict(store.items()) == expected

    def test_a_value_that_is_not_an_integer_is_left_as_it_is(self, store: Store) -> None:
        values = {repr(value): value for value in NOT_INTEGERS}
        store.set_many(values, expires=MOMENT)
        for number, name in enumerate(values):
            for by in (1, 0, (-1, MOST, LEAST)[number % 3]):
                assert is_refused(outcome(store.incr, name, by), DecodeError, name), (name, by)
        found = {name: (repr(item.value), item.expires_at) for name, item in store.items()}
        assert found == {name: (name, MOMENT) for name in values}

    def test_an_integer_past_the_range_is_left_as_it_is(self, store: Store) -> None:
        values = {str(value): value for value in PAST_THE_RANGE}
        store.set_many(values, expires=MOMENT)
        for name in values:
            for by in (0, 1, -1, MOST, LEAST):
                refused = is_refused(outcome(store.incr, name, by), CounterRangeError, name)
                assert refused, (name, by)
        assert dict(store.items()) == {name: Item(value, MOMENT) for name, value in values.items()}

    def test_expires_counts_only_for_the_call_that_starts_the_counter(self, store: Store) -> None:
        store.incr("a", expires=3600)
        before = store.get_item("a")
        assert before is not None
        assert before.ttl is not None
        assert HOUR / 2 < before.ttl < HOUR * 2
        store.incr("a", expires=5)
        store.incr("a", expires=None)
        store.incr("a")
        assert store.get_item("a") == Item(4, before.expires_at)

    def test_a_counter_without_an_expiry_gets_none_later(self, store: Store) -> None:
        store.incr("a")
        store.incr("a", expires=5)
        assert store.get_item("a") == Item(2, None)

    def test_bounds_hold_for_the_sum(self, store: Store) -> None:
        expected = {}
        for number, (counter, by, at_least, at_most) in enumerate(BOUNDED):
            key = f"k{number}"
            store.set(key, counter, expires=MOMENT)
            in_bounds = at_least <= counter + by <= at_most
            result = outcome(store.incr, key, by, at_least=at_least, at_most=at_most)
            if in_bounds:
                assert result == counter + by, BOUNDED[number]
            else:
                assert is_refused(result, CounterRangeError, key), BOUNDED[number]
            expected[key] = Item(counter + by if in_bounds else counter, MOMENT)
        assert dict(store.items()) == expected

    @pytest.mark.parametrize("expires", [None, HOUR, MOMENT], ids=["never", "lifetime", "moment"])
    @pytest.mark.parametrize("expired", [False, True], ids=["missing", "expired"])
    def test_bounds_hold_for_a_new_counter(
        self, store: Store, elapse: Elapse, expires: Any, expired: bool
    ) -> None:
        if expired:
            store.set_many({"a": 7, "b": 7, "c": 7, "d": 7}, expires=0.02)
            elapse(0.03)
        for key, by, bounds in (
            ("a", 4, {"at_most": 3}),
            ("a", -1, {"at_least": 0}),
            ("a", 0, {"at_least": 1}),
            ("a", MOST, {"at_most": MOST - 1}),
        ):
            result = outcome(store.incr, key, by, expires=expires, **bounds)
            assert is_refused(result, CounterRangeError, key), (by, bounds)
            assert key not in store
        assert store.incr("b", 3, expires=expires, at_most=3) == 3
        assert store.incr("c", -2, expires=expires, at_least=-2, at_most=-2) == -2
        assert store.incr("d", 0, expires=expires, at_least=0) == 0
        assert {key: item.value for key, item in store.items()} == {"b": 3, "c": -2, "d": 0}
        assert all((item.expires_at is None) == (expires is None) for _, item in store.items())

    def test_a_refused_sum_leaves_the_expiry_as_it_is(self, store: Store) -> None:
        store.incr("a", 5, expires=MOMENT, at_most=5)
        assert isinstance(outcome(store.incr, "a", expires=5, at_most=5), CounterRangeError)
        assert store.incr("a", -1, expires=5, at_most=5) == 4
        assert store.get_item("a") == Item(4, MOMENT)

    def test_a_moment_that_has_passed_is_refused_even_if_a_counter_is_there(
        self, store: Store
    ) -> None:
        store.incr("a", 5, expires=MOMENT)
        past = datetime(2000, 1, 1, tzinfo=UTC)
        assert isinstance(outcome(store.incr, "a", expires=past), InvalidExpiryError)
        assert store.get_item("a") == Item(5, MOMENT)

    def test_bounds_leave_what_is_no_integer_as_it_is(self, store: Store) -> None:
        values = {repr(value): value for value in NOT_INTEGERS}
        store.set_many(values, expires=MOMENT)
        for name in values:
            for by, bounds in ((1, {"at_most": 9}), (1, {"at_least": 3}), (-1, {"at_least": 0})):
                refused = is_refused(outcome(store.incr, name, by, **bounds), DecodeError, name)
                assert refused, (name, by, bounds)
        found = {name: (repr(item.value), item.expires_at) for name, item in store.items()}
        assert found == {name: (name, MOMENT) for name in values}

    def test_a_counter_is_a_value_like_any_other(self, store: Store) -> None:
        store.set("a", 5)
        assert store.incr("a", 2) == 7
        assert store.update("a", lambda old: old * 2) == 14
        assert store.incr("a", -4) == 10
        assert store.get("a", as_=int, strict=True) == 10
        assert store.get_many(["a"]) == {"a": 10}
        assert store.pop("a") == 10
        assert store.incr("a") == 1
