"""Expiries as Redis takes them, and the moments that it tells: in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ...expiry import EPOCH, Expiry
from .scripts import Argument

MILLISECOND = timedelta(milliseconds=1)


def milliseconds(span: timedelta) -> int:
    """Return a span in whole milliseconds, rounded up: a lifetime is never 0."""
    return -(-span // MILLISECOND)


def lifetime(expires: timedelta | None) -> tuple[Argument, ...]:
    """Return a lifetime as SET takes it."""
    return () if expires is None else (b"PX", milliseconds(expires))


def expiry(expires: Expiry) -> tuple[Argument, Argument]:
    """Return an expiry as the scripts take it."""
    if expires is None:
        return b"", 0
    if isinstance(expires, datetime):
        # Rounded down, so that a moment that has passed is never taken for one to come.
        return b"PXAT", (expires - EPOCH) // MILLISECOND
    return b"PX", milliseconds(expires)


def time(reply: Sequence[Any]) -> datetime:
    """Return the moment that TIME has replied."""
    seconds, micros = map(int, reply)
    return EPOCH + timedelta(seconds=seconds, microseconds=micros)


def moment(ends: int) -> datetime | None:
    """Return the moment that PEXPIRETIME has replied, or None for never."""
    return None if ends < 0 else EPOCH + timedelta(milliseconds=ends)
