"""Entries of every kind, for tests that copy a store or restore a backup of it."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django_persist import Store
from django_persist.contract.keys import LOOK_ALIKES
from django_persist.contract.values import VALUES
from tests.extent import LONG

NUMBER: Final = 50_002 if LONG else 2_002

_BEGIN = datetime.now(UTC).replace(microsecond=678_000)
EXPIRIES: Final = (
    *(None, _BEGIN + timedelta(hours=3), _BEGIN + timedelta(days=400, microseconds=999)),
    datetime(2999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
)
TYPED: Final = (
    *(uuid.UUID(int=7), _BEGIN, date(2026, 2, 28), timedelta(days=-1, microseconds=1)),
    *(Decimal("1.10"), b"\0\xff", {1, 2}, ("a", None)),
)
SMALL: Final = [value for value in VALUES.values() if len(repr(value)) < 2000] + [*TYPED]
NEAR_LIMITS: Final = {
    # Servers take no longer keys, and MariaDB's default limit for a statement is 16 MB.
    "\U0010ffff" * 255: "é" * (6_000_000 if LONG else 500_000),
    "k" * 255: list(range(100_000)),
}

State = dict[str, tuple[str | None, datetime | None]]


def fill(store: Store) -> State:
    """Store NUMBER entries; return their state."""
    values = [*VALUES.values(), *TYPED]
    entries: dict[str, Any] = {
        f"{LOOK_ALIKES[n % len(LOOK_ALIKES)]}{n}": values[n]
        if n < len(values)
        else SMALL[n % len(SMALL)]
        for n in range(NUMBER - len(NEAR_LIMITS))
    } | NEAR_LIMITS
    keys = list(entries)
    for n, expires in enumerate(EXPIRIES):
        store.set_many({key: entries[key] for key in keys[n :: len(EXPIRIES)]}, expires=expires)
    found = state(store)
    assert found.keys() == entries.keys() and len(found) == NUMBER
    return found


def state(store: Store) -> State:
    """Return the digest of each value's text, and each expiry in whole milliseconds."""
    return {key: (item.version, _cut(item.expires_at)) for key, item in store.items()}


def _cut(expires_at: datetime | None) -> datetime | None:
    return expires_at and expires_at.replace(microsecond=expires_at.microsecond // 1000 * 1000)
