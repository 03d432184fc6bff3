"""Fast checks of whether a value reads back as what was written; they run on every write.

A check that passes is certain. One that fails is not: then `fidelity.check` decides, slowly, and
names the reason.

- Short plain JSON: decode the text, and compare with ==.
- Other containers: look at all values of one level of nesting together, in a few calls that run at
  C speed, then at the values inside them (`_all_read_back`).
- Objects with fields: read the text back as the object's class, and compare with ==.

None of these depends on how long the texts within a value are, except for the short ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from gc import get_referents
from itertools import chain
from math import isfinite
from typing import Annotated, Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec

from ..interruptions import raise_if_from_outside
from .fidelity import MAX_DEPTH, has_whole_minute_offset, has_zone_without_offset
from .pydantic_models import is_model, load_text
from .text import from_text, to_text, with_times
from .types import CACHED_TYPES, TypeInfo, field_names, is_lazy_text, type_info

Check: TypeAlias = Callable[[Any, bytes | None, int], bool]
"""Takes a value, its text if that is at hand, and how many levels the value may nest."""

_SHORT_TEXT: Final = 2 * MAX_DEPTH
"""A text of at most this many bytes can't nest too deep: each level has two brackets."""

_LONG_TEXT: Final = 2000
_MANY: Final = 20
"""From how many values on it pays to treat those of one type together."""

_LISTS_NO_ATTRIBUTES: Final = sys.version_info >= (3, 13)
"""Whether CPython lists nothing for the __dict__ of an object, which itself has the values."""

_STR: Final = frozenset({str})
_SIZED: Final = frozenset({dict, list})
_SCALARS: Final = frozenset({str, int, bool, float, type(None)})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
PLAIN: Final = _SCALARS | {dict, list}


def is_faithful(value: Any, text: bytes) -> bool:
    """Return whether the value certainly reads back from `text`, which was encoded from it."""
    cls: Any = type(value)
    if cls in _CONTAINERS:
        if cls in _SIZED:
            if len(text) <= _SHORT_TEXT:
                try:
                    if from_text(text) == value:
                        return True
                # The == of a class within the value can raise anything.
                except Exception as error:
                    raise_if_from_outside(error)
            elif _is_small(value, text) and _are_json([value]):
                return True
        if cls is not dict:
            return _all_read_back(value if cls is list else [*value], MAX_DEPTH - 1)
        values = _values_of([value])
        return values is not None and _all_read_back(values, MAX_DEPTH - 1)
    if cls in _SCALARS:
        return _are_scalars([value])
    check = _check_for(cls)
    return check is not None and check(value, text, MAX_DEPTH)


def are_faithful(values: Sequence[Any]) -> bool:
    """Return whether all these values certainly read back."""
    return _all_read_back(values, MAX_DEPTH)


def _is_small(value: Any, text: bytes) -> bool:
    """Return whether a dict or list has so few items that it is faster to check it as a whole."""
    if len(value) > _MANY:
        return False
    if len(text) > _LONG_TEXT:
        for inner in value if type(value) is list else value.values():
            if type(inner) in _SIZED and len(inner) > _MANY:
                return False
    return True


def _all_read_back(values: Sequence[Any], max_depth: int) -> bool:
    """Check all values of one level of nesting together, then all values inside them."""
    while values:
        # The values of a level tend to be alike, so the first ones show what is the fastest.
        first = set(map(type, values[:_MANY]))
        if first <= _SCALARS:
            if _are_scalars(values):
                return True
        elif (
            len(first) > 1
            and first <= PLAIN
            and len(values) > _MANY
            and max_depth >= _JSON_DEPTH
            and _are_json(values)
        ):
            return True
        inner = _inner_values(values, max_depth)
        if inner is None:
            return False
        values, max_depth = inner, max_depth - 1
    return True


def _inner_values(values: Sequence[Any], max_depth: int) -> list[Any] | None:
    """Return all values inside values of any types; None if one of these may not read back."""
    types = set(map(type, values))
    if float in types and not _are_finite([v for v in values if type(v) is float]):
        return None
    inner: list[Any] = []
    cls: Any
    for cls in types - _SCALARS:
        same_type = values if len(types) == 1 else [v for v in values if type(v) is cls]
        base = _container_class(cls)
        if base is None:
            check = _check_for(cls)
            if check is None or not all(check(value, None, max_depth) for value in same_type):
                return None
        elif max_depth == 0:
            return None
        elif base is dict:
            found = _values_of(same_type)
            if found is None:
                return None
            inner = inner + found if inner else found
        else:
            # The methods of a subclass could say anything.
            inner += chain.from_iterable(
                same_type if base is cls else map(list.__iter__, same_type)
            )
    return inner


def _are_finite(floats: list[float]) -> bool:
    # A sum is finite only if all its items are. The sum of finite ones can be infinite.
    return isfinite(sum(floats)) or all(map(isfinite, floats))


# The bounds exclude NaN and infinity.
_Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
_Scalar: Final[Any] = bool | int | _Finite | str | None


def _json_type(depth: int) -> Any:
    """Return the type of JSON that is nested at most this deep."""
    type_, list_, dict_ = _Scalar, cast("Any", list), cast("Any", dict)
    for _ in range(depth):
        type_ = _Scalar | list_[type_] | dict_[str, type_]
    return type_


def _box(type_: Any) -> Any:
    """Return a Struct for a list of these: msgspec keeps what it has found out about a Struct."""
    return msgspec.defstruct("_Box", [("values", list[type_])])


_ScalarBox: Final = _box(_Scalar)
_NumberBox: Final = _box(bool | int | float)
# The type doubles in size with each level. msgspec needs a millisecond, once, to prepare five.
_JSON_DEPTH: Final = 5
_JsonBox: Final = _box(_json_type(_JSON_DEPTH - 1))


def _are_scalars(values: Sequence[Any]) -> bool:
    """Return whether all are certainly None, or numbers and strings that JSON can represent.

    This takes a third of the time of `set(map(type, values))`, and sees NaN, too. It also passes
    subclasses of str and int, and Decimals that aren't too large for a float.
    """
    # For numbers, a sum is faster than bounds. It is finite only if all of them are.
    if type(values[0]) is float and (numbers := _converted(values, _NumberBox)):
        try:
            if isfinite(sum(numbers)):
                return True
        except OverflowError:
            pass  # An int that is too large for a float.
    return _converted(values, _ScalarBox) is not None


def _are_json(values: Sequence[Any]) -> bool:
    """Return whether all equal plain JSON, and are nested less than five levels deep.

    This is faster than to decode the values' text and compare, as it creates no new strings.
    "Equal" also lets pass: subclasses of the JSON types, and a Decimal that equals a float. It does
    not see two keys with the same text, of which one is of a subclass of str with its own hash.
    """
    try:
        return bool(_converted(values, _JsonBox) == values)
    except Exception as error:
        raise_if_from_outside(error)
        return False


def _converted(values: Sequence[Any], box: Any) -> list[Any] | None:
    """Return the values, converted to the type of the items in the box; None if they can't be."""
    try:
        converted: list[Any] = msgspec.convert({"values": values}, box).values
    except Exception as error:
        raise_if_from_outside(error)
        return None
    return converted


def _values_of(dicts: Sequence[dict[Any, Any]]) -> list[Any] | None:
    """Return the values of all dicts; None if two keys of one may become the same in JSON."""
    if type(dicts[0]) is dict:
        # CPython lists only the values as what a dict refers to if all its keys are of the type
        # str; else the keys, too. This takes a third of the time of looking at the keys.
        values = get_referents(*dicts)
        if len(values) == sum(map(len, dicts)) and (
            not _LISTS_NO_ATTRIBUTES or all(map(get_referents, dicts))
        ):
            return values
    if not _have_distinct_keys(dicts):
        return None
    return [*chain.from_iterable(map(dict.values, dicts))]


def _have_distinct_keys(dicts: Sequence[dict[Any, Any]]) -> bool:
    """Return whether in each dict the keys certainly stay distinct in JSON."""
    # Two keys of one of these types never become the same. Uniting the dicts is fast, as it reuses
    # the keys' hashes. It drops keys that equal others, as 1.0 equals 1, but whose types differ:
    # such keys are always in different dicts, so that they can't become the same.
    # The methods of a subclass could say anything.
    keys = set().union(*dicts if type(dicts[0]) is dict else map(dict.keys, dicts))
    types = set(map(type, keys))
    return types <= _STR or types == {int} or types == {UUID}


def _always(value: Any, text: bytes | None, max_depth: int) -> bool:
    return True


_LEAF_CHECKS: Final[dict[type, Check]] = {
    **dict.fromkeys((date, timedelta, UUID, bytes, bytearray), _always),
    datetime: lambda value, text, max_depth: has_whole_minute_offset(value),
    time: lambda value, text, max_depth: (
        has_whole_minute_offset(value) and not has_zone_without_offset(value)
    ),
    Decimal: lambda value, text, max_depth: value.is_finite(),
}


@lru_cache(CACHED_TYPES)
def _container_class(cls: Any) -> type | None:
    """Return how msgspec encodes a container of this type; None for other types.

    That is what the container has as a dict or a list, whatever methods a subclass overrides.
    """
    if cls in _CONTAINERS:
        own: type = cls
        return own
    if issubclass(cls, Enum) or is_model(cls) or field_names(cls) is not None:
        return None
    return next((base for base in (dict, list) if issubclass(cls, base)), None)


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
        read = partial(load_text, cls) if is_model(cls) else info.decode
        return partial(_reads_back_equal, info, read) if info.is_comparable else None
    return _always if issubclass(cls, str | int) or is_lazy_text(cls) else None


def _is_shallow(text: bytes, max_depth: int) -> bool:
    # Each level has an opening bracket.
    return text.count(b"{") + text.count(b"[") <= max_depth


def _reads_back_equal(
    info: TypeInfo,
    read: Callable[[bytes], Any],
    value: Any,
    text: bytes | None,
    max_depth: int,
) -> bool:
    """Return whether the value, read back as its own type, equals itself."""
    text = text or to_text(value)
    # If the type sets no limit to the depth, the text shows how deep the value is.
    if info.max_depth > max_depth and not (
        _is_shallow(text, max_depth) or _all_read_back([from_text(text)], max_depth)
    ):
        return False
    try:
        if info.has_times and not _all_read_back([with_times(value)], max_depth):
            return False
        return bool(read(text) == value)
    # The class's own code can raise anything when an object is created.
    except Exception as error:
        raise_if_from_outside(error)
        return False
