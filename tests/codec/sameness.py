"""Comparing what was read with what was written."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django_persist.codec.types import field_names


def same(one: Any, other: Any) -> bool:
    """Return whether two values, and all parts of them, are equal and of the same types.

    Unlike with ==, 1 is neither True nor 1.0, 0.0 isn't -0.0, and the order of a dict counts.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return bool(one == other) and sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, datetime | time):
        # The text has the UTC offset, not the timezone.
        return bool(one.isoformat() == other.isoformat())
    cls: Any = type(one)
    if names := field_names(cls):
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return repr(one) == repr(other)
