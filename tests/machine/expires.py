"""Lifetimes and steps of the clock, chosen so that a test knows what has expired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, Final

from hypothesis import strategies as st

from django_persist import DEFAULT, KEEP
from django_persist.exceptions import InvalidExpiryError
from tests.machine.weighted import weighted

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def to_moment(micros: int) -> datetime:
    return EPOCH + micros * MICROSECOND


@dataclass(frozen=True)
class Expires:
    """An `expires` argument, and what it means in microseconds: a lifetime, a moment or never."""

    arg: Any
    lifetime: int | None = None
    moment: int | None = None
    error: type[Exception] | None = None


@dataclass(frozen=True)
class FromNow:
    """A moment `micros` microseconds after the call; before it if negative."""

    micros: int
    zone: timezone = UTC

    def at(self, now: int) -> Expires:
        moment = now + self.micros
        return Expires(to_moment(moment).astimezone(self.zone), moment=moment)


AnyExpires = Expires | FromNow

_DEFAULT: Final = Expires(DEFAULT)
_KEEP: Final = Expires(KEEP)
NEVER: Final = Expires(None)
_FAR: Final = [
    Expires(365_000 * 86_400, 365_000 * DAY),
    Expires(timedelta(days=365_000), 365_000 * DAY),
    Expires(LAST, moment=to_micros(LAST)),
]
_EAST: Final = timezone(timedelta(hours=5, minutes=45))
_INVALID: Final[dict[type[Exception], list[Any]]] = {
    InvalidExpiryError: [
        *(0, -1, -0.0, float("nan"), float("inf"), 10**400),
        *(timedelta(0), timedelta(days=-1), timedelta(days=365_000, microseconds=1)),
        *(datetime(2999, 1, 1), LAST + timedelta(microseconds=1)),
    ],
    TypeError: ["60", True, b"1", []],
}
_invalid: Final = st.sampled_from(
    [Expires(arg, error=error) for error, args in _INVALID.items() for arg in args]
)


@dataclass(frozen=True)
class Times:
    """The lifetimes, moments and steps of time that a test can use on one kind of server."""

    lifetimes: st.SearchStrategy[Expires]
    moments: st.SearchStrategy[AnyExpires]
    spans: st.SearchStrategy[int]
    """Steps by which time passes, in microseconds."""

    @cached_property
    def own(self) -> st.SearchStrategy[Expires]:
        """The lifetimes that a Key can have."""
        return st.just(_DEFAULT) | st.just(NEVER) | self.lifetimes

    @cached_property
    def expires(self) -> st.SearchStrategy[AnyExpires]:
        return weighted(
            (3, st.just(_DEFAULT)),
            (1, st.just(NEVER) | st.sampled_from(_FAR)),
            (8, self.lifetimes),
            (2, self.moments),
            (1, _invalid),
        )

    @cached_property
    def expires_or_keep(self) -> st.SearchStrategy[AnyExpires]:
        return weighted((1, st.just(_KEEP)), (2, self.expires))


# For the application's clock, which stands still during a call: exact to the microsecond.
TO_THE_MICROSECOND: Final = Times(
    lifetimes=st.sampled_from(
        [
            Expires(1e-9, 1),
            Expires(timedelta(microseconds=1), 1),
            Expires(0.000002, 2),
            Expires(0.5, SECOND // 2),
            Expires(1, SECOND),
            Expires(timedelta(seconds=1, microseconds=1), SECOND + 1),
            Expires(60.0, 60 * SECOND),
        ]
    ),
    moments=st.builds(
        FromNow,
        st.sampled_from([-DAY, -1, 0, 1, 2, SECOND, 60 * SECOND]),
        st.sampled_from([UTC, _EAST]),
    ),
    spans=st.sampled_from([1, 2, SECOND // 2, SECOND, 60 * SECOND, DAY]),
)

# For a server's clock, which can't be stopped. Each lifetime is 50 seconds more than a multiple of
# 100, and each step is such a multiple: so no entry expires within 50 seconds of a call.
APART_BY_50_SECONDS: Final = Times(
    lifetimes=st.sampled_from(
        [
            Expires(50, 50 * SECOND),
            Expires(50.0004, 50 * SECOND + 400),
            Expires(timedelta(seconds=150), 150 * SECOND),
            Expires(250, 250 * SECOND),
            Expires(timedelta(seconds=100_050, microseconds=1), 100_050 * SECOND + 1),
        ]
    ),
    moments=st.builds(
        FromNow,
        st.sampled_from([-DAY, -50 * SECOND, 50 * SECOND, 150 * SECOND]),
        st.sampled_from([UTC, _EAST]),
    ),
    spans=st.sampled_from([100 * SECOND, 200 * SECOND, 100_000 * SECOND]),
)
