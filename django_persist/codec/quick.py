"""Whether a value certainly reads back as what was written: the quick test of every write.

A no only says that it isn't certain: `fidelity.explain` then decides.
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

from .fidelity import MAX_DEPTH, field_names, has_whole_offset
from .text import (
    CACHED_TYPES,
    TypeInfo,
    from_text,
    is_json,
    is_lazy_text,
    is_model,
    to_text,
    type_info,
)

Check: TypeAlias = Callable[[Any, bytes | None, int], bool]
"""Takes a value, its text where that is made, and how many levels it may have."""

_SHALLOW: Final = 2 * MAX_DEPTH
"""So short a text, in bytes, can't have more levels than are allowed: each has two brackets."""

_STR: Final = frozenset({str})
_SCALARS: Final = frozenset({str, int, bool, float, type(None)})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
PLAIN: Final = _SCALARS | {dict, list}


def is_faithful(value: Any, text: bytes) -> bool:
    """Return whether the value, of which `text` was made, certainly reads back as what it is."""
    cls: Any = type(value)
    if cls in (dict, list):
        # Most values are small and plain, and it is quickest to read those back.
        plain = from_text(text) == value if len(text) <= _SHALLOW else _is_plain(value, text)
        if plain:
            return True
    if cls in _CONTAINERS or cls in _SCALARS:
        return _reads_back([value], text, MAX_DEPTH)
    check = _check(cls)
    return check is not None and check(value, text, MAX_DEPTH)


def are_faithful(values: Sequence[Any], lines: bytes) -> bool:
    """Return whether values of PLAIN types, of which `lines` were made, certainly read back."""
    return _is_plain(values, lines) or _reads_back(values, lines, MAX_DEPTH)


def _is_plain(value: Any, text: bytes) -> bool:
    # What stands as null in the text may be NaN, and an infinite Decimal is equal to its float.
    return b"null" not in text and b"Infinity" not in text and is_json(value)


def _is_shallow(text: bytes, levels: int) -> bool:
    # A text has no more levels than brackets.
    return text.count(b"{") + text.count(b"[") <= levels


def _reads_back(level: Collection[Any], text: bytes, levels: int) -> bool:
    """Judge all values of one level together, at C speed, and go on with what lies in them."""
    types = set(map(type, level))
    while types:
        # NaN and infinities stand as null in the text.
        if float in types and b"null" in text and not _are_finite(level):
            return False
        below: list[Any] = []
        cls: Any
        for cls in types - _SCALARS:
            values: list[Any] = [value for value in level if type(value) is cls]
            if cls not in _CONTAINERS:
                check = _check(cls)
                if check is None or not all(check(value, None, levels) for value in values):
                    return False
            elif levels == 0:
                return False
            elif cls is not dict:
                below += chain.from_iterable(values)
            elif _has_safe_keys(values):
                below += chain.from_iterable(map(dict.values, values))
            else:
                return False
        level, types, levels = below, set(map(type, below)), levels - 1
    return True


def _are_finite(level: Collection[Any]) -> bool:
    return all(isfinite(value) for value in level if type(value) is float)


def _has_safe_keys(dicts: list[dict[Any, Any]]) -> bool:
    # Keys of one of these types never fall together. The union is fast, as it has their hashes;
    # keys that are equal without being the same, 1 and 1.0 say, stand in different dicts.
    types = set(map(type, set().union(*dicts)))
    return types <= _STR or types == {int} or types == {UUID}


def _always(value: Any, text: bytes | None, levels: int) -> bool:
    return True


_LEAVES: Final[dict[type, Check]] = {
    **dict.fromkeys((date, timedelta, UUID, bytes, bytearray), _always),
    **dict.fromkeys((datetime, time), lambda value, text, levels: has_whole_offset(value)),
    Decimal: lambda value, text, levels: value.is_finite(),
}


@lru_cache(CACHED_TYPES)
def _check(cls: Any) -> Check | None:
    """Return the check for values of just this type; None where only `explain` can tell."""
    if cls in _LEAVES:
        return _LEAVES[cls]
    if issubclass(cls, Enum) or is_model(cls) or field_names(cls) is not None:
        try:
            info = type_info(cls)
        except TypeError:
            return None
        return partial(_is_equal, info) if info.is_comparable else None
    return _always if issubclass(cls, str | int) or is_lazy_text(cls) else None


def _is_equal(info: TypeInfo, value: Any, text: bytes | None, levels: int) -> bool:
    """Return whether what is read as the value's own type is equal to it."""
    text = text or to_text(value)
    # Of a type that may hold anything, or itself, the text tells how deep.
    bounded = info.levels <= levels or _is_shallow(text, levels)
    if not bounded and not _reads_back([from_text(text)], text, levels):
        return False
    try:
        return bool(info.decode(text) == value)
    # Whatever the class itself raises when it is made.
    except Exception:
        return False
