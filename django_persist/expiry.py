"""When an entry expires: the `expires` argument, the clock, and what a driver gets.

A driver gets an `Expiry`: a positive lifetime (timedelta), a moment (an aware datetime in UTC), or
None for never. Whether a moment has passed is for the driver to decide, by its own clock.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from .exceptions import InvalidExpiryError


class Default(Enum):
    """The type of DEFAULT: the Key's expiry, else the store's DEFAULT_EXPIRES, else never."""

    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return self.value


class Keep(Enum):
    """The type of KEEP: a live entry keeps its expiry; a new entry gets the default."""

    KEEP = "KEEP"

    def __repr__(self) -> str:
        return self.value


DEFAULT: Final = Default.DEFAULT
KEEP: Final = Keep.KEEP

Expiry: TypeAlias = timedelta | datetime | None
"""What a driver gets: a lifetime, a moment, or None for never."""

ExpiresArg: TypeAlias = timedelta | datetime | int | float | None
"""What a caller may pass: a lifetime, seconds, an aware datetime, or None for never."""

LONGEST: Final = timedelta(days=365_000)
"""The longest lifetime, about a thousand years: added to any clock, it stays within datetime."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MOMENT: Final = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
_NONE: Final = timedelta(0)


def parse(expires: ExpiresArg) -> Expiry:
    """Turn an `expires` argument into an `Expiry`.

    Raises InvalidExpiryError for a lifetime that isn't positive, isn't finite or is longer than
    LONGEST, and for a naive datetime. Raises TypeError for any other kind of object.
    """
    if expires is None:
        return None
    if isinstance(expires, datetime):
        return _parse_moment(expires)
    if isinstance(expires, timedelta):
        lifetime = expires
    elif isinstance(expires, int | float) and not isinstance(expires, bool):
        lifetime = _parse_seconds(expires)
    elif isinstance(expires, Keep):
        raise TypeError("expires=KEEP is only for set, set_many, replace and update.")
    else:
        raise TypeError(
            "expires must be a timedelta, seconds, an aware datetime or None, "
            f"not {type(expires).__name__}."
        )
    if lifetime <= _NONE:
        raise InvalidExpiryError(f"A lifetime must be positive, not {lifetime}.")
    if lifetime > LONGEST:
        raise InvalidExpiryError(
            f"A lifetime can be at most {LONGEST.days} days; None means never."
        )
    return lifetime


def parse_lifetime(name: str, lifetime: timedelta | float) -> timedelta:
    """Turn the argument `name`, a lifetime or seconds, into a timedelta. Raises as `parse` does."""
    parsed = parse(lifetime)
    if not isinstance(parsed, timedelta):
        raise TypeError(f"{name} must be a timedelta or seconds, not {type(lifetime).__name__}.")
    return parsed


def _parse_seconds(seconds: float) -> timedelta:
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise InvalidExpiryError(f"A lifetime must be finite, not {seconds}; None means never.")
    if seconds > LONGEST.total_seconds():
        raise InvalidExpiryError(
            f"A lifetime can be at most {LONGEST.days} days; None means never."
        )
    if seconds <= 0:
        raise InvalidExpiryError("A lifetime must be positive.")
    # Less than half a microsecond would round to no lifetime at all.
    return max(timedelta(seconds=seconds), MICROSECOND)


def _parse_moment(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise InvalidExpiryError(
            "A moment of expiry must be aware: give it a tzinfo, as timezone.now() does."
        )
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidExpiryError("The moment of expiry is later than a store can hold.") from error
    if moment > LAST_MOMENT:
        raise InvalidExpiryError("The moment of expiry is later than a store can hold.")
    return moment


def past(moment: datetime) -> InvalidExpiryError:
    """Return the error for a moment of expiry that isn't in the future."""
    return InvalidExpiryError(f"The moment of expiry {moment.isoformat()} is not in the future.")


# The application's clock, and moments as whole microseconds since 1970 in UTC.


def now() -> int:
    """Return the application's clock, in microseconds since 1970 in UTC."""
    # Rounded, because freezegun computes nanoseconds from a float, which may be slightly too small.
    return (time.time_ns() + 500) // 1000


def expires_at_micros(expiry: Expiry, start: int) -> int | None:
    """Return when an entry written at `start` expires, both in microseconds; None for never.

    Raises InvalidExpiryError for a moment that isn't after `start`.
    """
    if expiry is None:
        return None
    if isinstance(expiry, timedelta):
        return start + expiry // MICROSECOND
    moment = to_micros(expiry)
    if moment <= start:
        raise past(expiry)
    return moment


def to_micros(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 as an aware datetime in UTC.

    Something else may have stored a moment that no datetime can hold. It counts as LAST_MOMENT, or
    as long past.
    """
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return LAST_MOMENT if micros > 0 else datetime.min.replace(tzinfo=UTC)
