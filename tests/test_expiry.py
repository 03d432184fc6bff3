"""`expires` arguments, and the application's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_persist import DEFAULT, KEEP, Item
from django_persist.exceptions import InvalidExpiryError, PersistError
from django_persist.expiry import (
    EPOCH,
    LAST_MOMENT,
    LONGEST,
    expires_at_micros,
    from_micros,
    now,
    parse,
    to_micros,
)

MICROSECOND = timedelta(microseconds=1)


def naive(*args: int) -> datetime:
    return datetime(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expires", "parsed"),
    [
        (None, None),
        (60, timedelta(minutes=1)),
        (0.25, timedelta(milliseconds=250)),
        (1e-3, timedelta(milliseconds=1)),
        (timedelta(days=7), timedelta(days=7)),
        (MICROSECOND, MICROSECOND),
        (LONGEST, LONGEST),
        (LONGEST.total_seconds(), LONGEST),
        (int(LONGEST.total_seconds()), LONGEST),
    ],
)
def test_a_lifetime_is_a_timedelta_or_seconds(expires: Any, parsed: timedelta | None) -> None:
    assert parse(expires) == parsed


@pytest.mark.parametrize("seconds", [5e-324, 1e-9, 4e-7, 5e-7])
def test_the_shortest_lifetime_is_not_zero(seconds: float) -> None:
    assert parse(seconds) == MICROSECOND


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 6, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2030, 6, 1, 5, 45, tzinfo=timezone(timedelta(hours=-4, minutes=-15))),
        datetime(2030, 6, 1, 10, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_moment_becomes_utc(moment: datetime) -> None:
    parsed = parse(moment)
    assert parsed == datetime(2030, 6, 1, 10, tzinfo=UTC)
    assert isinstance(parsed, datetime)
    assert parsed.tzinfo is UTC


def test_an_hour_that_a_clock_change_repeats_has_two_moments() -> None:
    first = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert parse(first) == datetime(2030, 10, 27, 0, 30, tzinfo=UTC)
    assert parse(first.replace(fold=1)) == datetime(2030, 10, 27, 1, 30, tzinfo=UTC)


def test_a_past_moment_is_left_to_the_drivers_clock() -> None:
    assert parse(datetime(2020, 1, 1, tzinfo=UTC)) == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "message"),
    [
        (0, "must be positive"),
        (-1, "must be positive"),
        (0.0, "must be positive"),
        (-0.0, "must be positive"),
        (-1e-9, "must be positive"),
        (-(2**70), "must be positive"),
        (timedelta(0), "must be positive"),
        (-MICROSECOND, "must be positive"),
        (timedelta.min, "must be positive"),
        (float("nan"), "must be finite"),
        (float("inf"), "must be finite"),
        (float("-inf"), "must be finite"),
        (1e300, "at most 365000 days"),
        (2**70, "at most 365000 days"),
        pytest.param(10**400, "at most 365000 days", id="10**400"),
        (LONGEST + MICROSECOND, "at most 365000 days"),
        (LONGEST.total_seconds() + 1, "at most 365000 days"),
        (timedelta.max, "at most 365000 days"),
        (naive(2999, 1, 1), "must be aware"),
        (naive(1, 1, 1), "must be aware"),
        (LAST_MOMENT + MICROSECOND, "later than a store can hold"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "later than a store can hold"),
        (datetime.max.replace(tzinfo=UTC), "later than a store can hold"),
    ],
    ids=repr,
)
def test_an_invalid_expiry_is_refused(expires: Any, message: str) -> None:
    with pytest.raises(InvalidExpiryError, match=message) as caught:
        parse(expires)
    assert isinstance(caught.value, PersistError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "expires",
    [
        *(True, False, "60", "", b"60", [60], (1, 2), Decimal(60), Fraction(1, 2), 1j, object),
        *(DEFAULT, date(2999, 1, 1), time(12)),
    ],
    ids=repr,
)
def test_an_expiry_of_another_type_is_a_type_error(expires: Any) -> None:
    with pytest.raises(TypeError, match="expires must be a timedelta, seconds, an aware datetime"):
        parse(expires)


def test_keep_is_not_an_expiry() -> None:
    with pytest.raises(TypeError, match="only for set, set_many, replace and update"):
        parse(KEEP)  # type: ignore[arg-type]


def test_a_lifetime_counts_from_the_start() -> None:
    assert expires_at_micros(timedelta(seconds=1.5), 1_000_000) == 2_500_000
    assert expires_at_micros(MICROSECOND, 1_000_000) == 1_000_001


def test_a_moment_does_not_depend_on_the_start() -> None:
    assert expires_at_micros(EPOCH + timedelta(seconds=3), 1_000_000) == 3_000_000
    assert expires_at_micros(EPOCH + timedelta(microseconds=1_000_001), 1_000_000) == 1_000_001


def test_without_an_expiry_there_is_no_moment() -> None:
    assert expires_at_micros(None, 1_000_000) is None


@pytest.mark.parametrize("micros", [1_000_000, 999_999, 0, -5])
def test_a_moment_that_is_not_after_the_start_is_refused(micros: int) -> None:
    with pytest.raises(InvalidExpiryError, match="is not in the future"):
        expires_at_micros(from_micros(micros), 1_000_000)


def test_whatever_can_be_parsed_is_a_moment() -> None:
    last = expires_at_micros(parse(LONGEST), now())
    assert last is not None
    assert from_micros(last).year < 9999
    assert from_micros(to_micros(LAST_MOMENT)) == LAST_MOMENT


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_survives_the_way_to_microseconds_and_back(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return
    assert from_micros(to_micros(moment)) == utc


def test_now_is_the_clock_in_utc() -> None:
    before = datetime.now(UTC)
    moment = from_micros(now())
    assert before - MICROSECOND <= moment <= datetime.now(UTC)
    assert moment.tzinfo is UTC


def test_the_sentinels_have_a_repr() -> None:
    assert (repr(DEFAULT), repr(KEEP)) == ("DEFAULT", "KEEP")


def test_a_moment_that_no_datetime_can_hold_is_the_last_one() -> None:
    year_14645 = 400_000_000_000_000_000
    assert from_micros(year_14645) == LAST_MOMENT
    assert from_micros(-year_14645) < EPOCH
    assert Item(1, from_micros(year_14645)).ttl is not None
