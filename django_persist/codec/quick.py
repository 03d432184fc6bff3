"""Fast checks of whether a value reads back as what was written; they run on every write.

A check that passes is certain. One that fails is not: then `fidelity.check` decides, slowly, and
names the reason.

- Plain JSON: compare the value with what its text, or `is_json`, makes of it.
- Other containers: look at the types of all values of one level of nesting together, in a few calls
  that run at C speed, then at the values inside them (`_all_read_back`).
- Objects with fields: read the text back as the object's class, and compare with ==.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from itertools import chain
from math import isfinite
from typing import Any, Final, TypeAlias
from uuid import UUID

from ..interruptions import raise_if_from_outside
from .fidelity import MAX_DEPTH, has_whole_minute_offset
from .text import from_text, is_json, to_text
from .types import CACHED_TYPES, TypeInfo, field_names, is_lazy_text, is_model, type_info

Check: TypeAlias = Callable[[Any, bytes | None, int], bool]
"""Takes a value, its text if that is at hand, and how many levels the value may nest."""

_SHORT_TEXT: Final = 2 * MAX_DEPTH
"""A text of at most this many bytes can't nest too deep: each level has two brackets."""

_STR: Final = frozenset({str})
_SCALARS: Final = frozenset({str, int, bool, float, type(None)})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
PLAIN: Final = _SCALARS | {dict, list}


def is_faithful(value: Any, text: bytes) -> bool:
    """Return whether the value certainly reads back from `text`, which was encoded from it."""
    cls: Any = type(value)
    if cls in (dict, list):
        # For small values, which most are, decoding is faster than is_json().
        plain = from_text(text) == value if len(text) <= _SHORT_TEXT else _is_plain(value, text)
        if plain:
            return True
    if cls in _CONTAINERS or cls in _SCALARS:
        return _all_read_back([value], text, MAX_DEPTH)
    check = _check_for(cls)
    return check is not None and check(value, text, MAX_DEPTH)


def are_faithful(values: Sequence[Any], lines: bytes) -> bool:
    """Return whether values of PLAIN types certainly read back from `lines`, encoded from them."""
    return _is_plain(values, lines) or _all_read_back(values, lines, MAX_DEPTH)


def _is_plain(value: Any, text: bytes) -> bool:
    # is_json() lets pass NaN, which the text has as null, and an infinite Decimal.
    return b"null" not in text and b"Infinity" not in text and is_json(value)


def _is_shallow(text: bytes, max_depth: int) -> bool:
    # Each level has an opening bracket.
    return text.count(b"{") + text.count(b"[") <= max_depth


def _all_read_back(values: Collection[Any], text: bytes, max_depth: int) -> bool:
    """Check all values of one level of nesting together, then all values inside them."""
    types = set(map(type, values))
    while types:
        # The text has null for NaN and infinity.
        if float in types and b"null" in text and not _are_finite(values):
            return False
        inner: list[Any] = []
        cls: Any
        for cls in types - _SCALARS:
            same_type: list[Any] = [value for value in values if type(value) is cls]
            if cls not in _CONTAINERS:
                check = _check_for(cls)
                if check is None or not all(check(value, None, max_depth) for value in same_type):
                    return False
            elif max_depth == 0:
                return False
            elif cls is not dict:
                inner += chain.from_iterable(same_type)
            elif _have_distinct_keys(same_type):
                inner += chain.from_iterable(map(dict.values, same_type))
            else:
                return False
        values, types, max_depth = inner, set(map(type, inner)), max_depth - 1
    return True


def _are_finite(values: Collection[Any]) -> bool:
    return all(isfinite(value) for value in values if type(value) is float)


def _have_distinct_keys(dicts: list[dict[Any, Any]]) -> bool:
    """Return whether in each dict the keys certainly stay distinct in JSON."""
    # Two keys of one of these types never become the same. Uniting the dicts is fast, as it reuses
    # the keys' hashes. It drops keys that equal others, as 1.0 equals 1, but whose types differ:
    # such keys are always in different dicts, so that they can't become the same.
    types = set(map(type, set().union(*dicts)))
    return types <= _STR or types == {int} or types == {UUID}


def _always(value: Any, text: bytes | None, max_depth: int) -> bool:
    return True


_LEAF_CHECKS: Final[dict[type, Check]] = {
    **dict.fromkeys((date, timedelta, UUID, bytes, bytearray), _always),
    **dict.fromkeys(
        (datetime, time), lambda value, text, max_depth: has_whole_minute_offset(value)
    ),
    Decimal: lambda value, text, max_depth: value.is_finite(),
}


@lru_cache(CACHED_TYPES)
def _check_for(cls: Any) -> Check | None:
    """Return the check for values of exactly this type; None if only `fidelity` can check them."""
    if cls in _LEAF_CHECKS:
        return _LEAF_CHECKS[cls]
    if issubclass(cls, Enum) or is_model(cls) or field_names(cls) is not None:
        try:
            info = type_info(cls)
        except TypeError:
            return None
        return partial(_reads_back_equal, info) if info.is_comparable else None
    return _always if issubclass(cls, str | int) or is_lazy_text(cls) else None


def _reads_back_equal(info: TypeInfo, value: Any, text: bytes | None, max_depth: int) -> bool:
    """Return whether the value, read back as its own type, equals itself."""
    text = text or to_text(value)
    # If the type sets no limit to the depth, the text shows how deep the value is.
    if info.max_depth > max_depth and not (
        _is_shallow(text, max_depth) or _all_read_back([from_text(text)], text, max_depth)
    ):
        return False
    try:
        return bool(info.decode(text) == value)
    # The class's own code can raise anything when an object is created.
    except Exception as error:
        raise_if_from_outside(error)
        return False
