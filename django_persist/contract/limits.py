"""What a rate limit asks of a driver: a counter with the time left, and a time that moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..drivers.base import LAST_TIME, MOST, Advanced, Counted, Driver
from ..exceptions import InvalidExpiryError
from ..expiry import MICROSECOND, from_micros, to_micros
from ..store import Item, Store
from .base import Contract, Elapse, outcome
from .counters import NOT_INTEGERS
from .threads import ROUNDS, together

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)
ROUNDING = timedelta(milliseconds=1)
"""How much later than its time an entry may expire."""

NOT_TIMES: list[Any] = [*NOT_INTEGERS, -1, LAST_TIME + 1, MOST, MOST + 1, 10**30]


def advance(driver: Driver, key: str, by: timedelta, at_most: timedelta) -> Advanced:
    result = driver.advance(key, by, at_most)
    assert result is not None
    return result


def time_of(store: Store, key: str) -> datetime:
    """Return the stored time. The entry must expire when it has come."""
    item = store.get_item(key, as_=int, strict=True)
    assert item is not None
    assert item.expires_at is not None
    time = from_micros(item.value)
    assert timedelta(0) <= item.expires_at - time <= ROUNDING
    return time


class LimitsContract(Contract):
    """incr_with_ttl, and advance: what a rate limit counts with."""

    def test_a_count_comes_with_the_time_left(self, driver: Driver, store: Store) -> None:
        first = driver.incr_with_ttl("a", 1, HOUR)
        assert first is not None
        assert first.ttl is not None
        assert (first.total, HOUR - MINUTE < first.ttl <= HOUR) == (1, True)
        item = store.get_item("a")
        # The expiry counts only for the call that starts the counter.
        for total, expires in ((3, MINUTE), (5, None), (7, MOMENT)):
            counted = driver.incr_with_ttl("a", 2, expires)
            assert counted is not None
            assert counted.ttl is not None
            assert counted.total == total
            assert HOUR - MINUTE < counted.ttl <= first.ttl
        assert item is not None
        assert store.get_item("a") == Item(7, item.expires_at)

    def test_a_count_that_never_expires_has_no_time_left(self, driver: Driver) -> None:
        assert driver.incr_with_ttl("a", 5, None) == Counted(5, None)
        assert driver.incr_with_ttl("a", -7, HOUR) == Counted(-2, None)

    def test_a_count_starts_again_once_it_has_expired(self, driver: Driver, elapse: Elapse) -> None:
        driver.incr_with_ttl("a", 5, timedelta(seconds=0.02))
        elapse(0.03)
        counted = driver.incr_with_ttl("a", 1, HOUR)
        assert counted is not None
        assert counted.ttl is not None
        assert (counted.total, counted.ttl > HOUR - MINUTE) == (1, True)

    def test_a_count_that_is_refused_changes_nothing(self, driver: Driver, store: Store) -> None:
        values = {repr(value): value for value in [*NOT_INTEGERS, MOST, MOST + 1]}
        store.set_many(values, expires=MOMENT)
        for name in values:
            assert driver.incr_with_ttl(name, 1, HOUR) is None, name
        found = {name: (repr(item.value), item.expires_at) for name, item in store.items()}
        assert found == {name: (name, MOMENT) for name in values}
        past = datetime(2000, 1, 1, tzinfo=UTC)
        assert isinstance(outcome(driver.incr_with_ttl, "new", 1, past), InvalidExpiryError)
        assert "new" not in store

    def test_every_count_counts(self, driver: Driver, store: Store) -> None:
        def work(number: int) -> list[int]:
            counted = [driver.incr_with_ttl("a", 1, HOUR) for _ in range(ROUNDS)]
            return [each.total for each in counted if each is not None]

        totals = [total for each in together(work) for total in each]
        assert sorted(totals) == list(range(1, 8 * ROUNDS + 1))

    def test_a_time_moves_from_now(self, driver: Driver, store: Store) -> None:
        before = driver.clock()
        assert advance(driver, "a", HOUR, HOUR) == Advanced(True, HOUR)
        assert before - MINUTE < time_of(store, "a") - HOUR < driver.clock() + MINUTE

    def test_a_time_moves_on_from_where_it_is(self, driver: Driver, store: Store) -> None:
        step = HOUR + MICROSECOND
        advance(driver, "a", step, 9 * HOUR)
        first = time_of(store, "a")
        for number in range(2, 6):
            moved, ahead = advance(driver, "a", step, 9 * HOUR)
            assert moved
            assert time_of(store, "a") == first + (number - 1) * step
            assert number * step - MINUTE < ahead <= number * step

    def test_a_time_never_gets_too_far_ahead(self, driver: Driver, store: Store) -> None:
        moved = [advance(driver, "a", HOUR, 5 * HOUR).moved for _ in range(8)]
        assert moved == [True] * 5 + [False] * 3
        time = time_of(store, "a")
        refused = advance(driver, "a", HOUR, 5 * HOUR)
        assert not refused.moved
        assert 5 * HOUR - MINUTE < refused.ahead <= 5 * HOUR
        assert time_of(store, "a") == time
        # A smaller step, and a larger bound, still go.
        assert not advance(driver, "a", MINUTE, 4 * HOUR).moved
        assert advance(driver, "a", HOUR, 6 * HOUR + MINUTE).moved
        assert time_of(store, "a") == time + HOUR

    @pytest.mark.parametrize("ahead", [2 * HOUR, 4 * HOUR - MINUTE, 4 * HOUR + MINUTE, 9 * HOUR])
    def test_a_stored_time_is_taken_as_it_is(
        self, driver: Driver, store: Store, ahead: timedelta
    ) -> None:
        time = to_micros(driver.clock() + ahead)
        store.set("a", time, expires=MOMENT)
        moved, now_ahead = advance(driver, "a", HOUR, 5 * HOUR)
        assert moved == (ahead < 4 * HOUR)
        expected = ahead + HOUR if moved else ahead
        assert expected - MINUTE < now_ahead <= expected
        assert store.get("a") == time + (HOUR // MICROSECOND if moved else 0)

    @pytest.mark.parametrize("time", [0, 1, 10**15])
    @pytest.mark.parametrize("expires", [None, MOMENT], ids=["never", "moment"])
    def test_a_time_in_the_past_moves_from_now(
        self, driver: Driver, store: Store, time: int, expires: datetime | None
    ) -> None:
        store.set("a", time, expires=expires)
        assert advance(driver, "a", HOUR, HOUR) == Advanced(True, HOUR)
        assert driver.clock() < time_of(store, "a")

    def test_the_entry_is_gone_when_its_time_has_come(
        self, driver: Driver, store: Store, elapse: Elapse
    ) -> None:
        advance(driver, "a", timedelta(seconds=0.02), HOUR)
        elapse(0.03)
        assert "a" not in store
        assert advance(driver, "a", HOUR, HOUR) == Advanced(True, HOUR)

    def test_an_expired_entry_is_no_time(
        self, driver: Driver, store: Store, elapse: Elapse
    ) -> None:
        far = to_micros(MOMENT)
        store.set_many({"a": "text", "b": far, "c": far}, expires=0.02)
        elapse(0.03)
        assert advance(driver, "a", HOUR, HOUR) == Advanced(True, HOUR)
        assert advance(driver, "b", HOUR, HOUR) == Advanced(True, HOUR)
        assert advance(driver, "b", MINUTE, HOUR).moved is False
        assert {time_of(store, key) > driver.clock() for key in ("a", "b")} == {True}

    def test_what_is_not_a_time_is_left_as_it_is(self, driver: Driver, store: Store) -> None:
        values = {repr(value): value for value in NOT_TIMES}
        store.set_many(values, expires=MOMENT)
        for name in values:
            assert driver.advance(name, HOUR, HOUR) is None, name
        found = {name: (repr(item.value), item.expires_at) for name, item in store.items()}
        assert found == {name: (name, MOMENT) for name in values}

    def test_the_last_time_is_only_refused(self, driver: Driver, store: Store) -> None:
        store.set("a", LAST_TIME)
        assert advance(driver, "a", HOUR, HOUR).moved is False
        assert store.get("a") == LAST_TIME

    def test_a_time_takes_no_step_too_many_from_eight_threads(
        self, driver: Driver, store: Store, elapse: Elapse
    ) -> None:
        store.set("a", "expired", expires=0.01)
        elapse(0.02)
        # Less than an hour passes, so that no call finds room for another step.
        steps, step = 3 * ROUNDS, HOUR

        def work(number: int) -> int:
            return sum(advance(driver, "a", step, steps * step).moved for _ in range(ROUNDS))

        assert sum(together(work)) == steps
        left = time_of(store, "a") - driver.clock()
        assert steps * step - HOUR < left <= steps * step
