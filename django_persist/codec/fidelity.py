"""Whether a value reads back as what was written, object by object.

`explain` is the judge, and names the path of the first misfit. It is slow; `levels.is_faithful`
lets most values pass without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec
from msgspec import inspect

from ..exceptions import EncodeError
from .text import (
    CACHED_TYPES,
    from_text,
    is_lazy_text,
    is_model,
    place_of,
    to_text,
    type_info,
    type_name,
)

MAX_DEPTH: Final = 200
"""How deep a value may nest: what was written can then be read, however deep its reader stands."""

_MINUTE: Final = timedelta(minutes=1)

_BYTES: Final = (bytes, bytearray, memoryview)
_TEXTS: Final = (datetime, date, time, timedelta, UUID, Decimal, *_BYTES)
_LEAVES: Final = (str, int, float, type(None), Enum, *_TEXTS)
_KEYS: Final = (str, int, float, Enum, *_TEXTS)


def explain(value: Any) -> None:
    """Raise EncodeError, which names the path and the reason, unless the value is faithful."""
    _explain(value, "$", 0)


@lru_cache(CACHED_TYPES)
def field_names(cls: type) -> tuple[str, ...] | None:
    """Return the fields of a dataclass, attrs class, Struct or NamedTuple; None for others."""
    names: Iterable[str] | None = None
    if issubclass(cls, msgspec.Struct):
        names = cls.__struct_fields__
    elif dataclasses.is_dataclass(cls):
        names = (field.name for field in dataclasses.fields(cls))
    elif hasattr(cls, "__attrs_attrs__"):
        names = (field.name for field in cls.__attrs_attrs__)
    elif issubclass(cls, tuple):
        names = getattr(cls, "_fields", None)
    return None if names is None else tuple(names)


def has_whole_offset(moment: datetime | time) -> bool:
    """Return whether the offset from UTC is in whole minutes: msgspec would round it."""
    offset = moment.utcoffset()
    return offset is None or not offset % _MINUTE


def _refuse(path: str, reason: str) -> NoReturn:
    # Nothing is chained to it: the errors of msgspec, codecs and pydantic show the value.
    raise EncodeError(f"The value can't be stored: at {path}, {reason}.") from None


def _step(path: str, key: Any) -> str:
    # A path helps only while it can be read, and a key that is no name may well be data.
    if len(path) > 200:
        return path if path.endswith("…") else f"{path}…"
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if type(key) is str and key.isidentifier() else f"{path}[...]"


# As JSON.


def _explain(value: Any, path: str, depth: int) -> None:
    cls: Any = type(value)
    names = field_names(cls)
    model = is_model(cls)
    if issubclass(cls, Enum):
        _explain(value.value, path, depth)
        _explain_leaf(value, path)
        return
    if names is None and not model and not issubclass(cls, dict | list | tuple | set | frozenset):
        _explain_leaf(value, path)
        return
    if depth == MAX_DEPTH:
        _refuse(path, f"it is nested deeper than {MAX_DEPTH} levels, or holds itself")
    if model:
        _explain_model(value, path, depth)
    elif names is not None:
        if hasattr(cls, "__attrs_attrs__"):
            # msgspec writes whatever is in the __dict__ of an attrs object, fields or not.
            names = (*dict.fromkeys((*names, *getattr(value, "__dict__", ()))),)
        for name in names:
            field = getattr(value, name, msgspec.UNSET)
            if field is not msgspec.UNSET:
                _explain(field, _step(path, name), depth + 1)
        _explain_typed(value, path)
    elif issubclass(cls, dict):
        _explain_keys(value, path)
        for key, item in value.items():
            _explain(item, _step(path, key if isinstance(key, str) else ...), depth + 1)
    else:
        for index, item in enumerate(value):
            _explain(item, _step(path, index), depth + 1)


def _explain_leaf(value: Any, path: str) -> None:
    cls = type(value)
    if issubclass(cls, float | Decimal) and not _is_finite(value):
        _refuse(path, "JSON has no NaN and no infinity")
    if issubclass(cls, datetime | time) and not has_whole_offset(value):
        _refuse(path, "the offset from UTC isn't in whole minutes")
    if not issubclass(cls, _LEAVES) and not is_lazy_text(cls):
        _refuse(path, f"a {type_name(cls)} is nothing that JSON can say")
    try:
        text = to_text(value)
    except UnicodeError:
        _refuse(path, "the text holds a lone surrogate, which is no character")
    except Exception:
        _refuse(path, f"this {type_name(cls)} can't be encoded as JSON")
    base = cls if issubclass(cls, Enum) else next((t for t in _TEXTS if issubclass(cls, t)), None)
    if base is None:
        return
    try:
        decode = type_info(base).decode
    except TypeError:
        # An Enum of mixed values: it is read without a type.
        return
    try:
        faithful = _is_same(value, decode(text))
    except Exception:
        faithful = False
    if not faithful:
        _refuse(path, f"this {type_name(cls)} does not read back as what it is")


def _explain_keys(value: dict[Any, Any], path: str) -> None:
    texts: set[str] = set()
    for key in value:
        cls = type(key)
        place = f"a key of {path}"
        if cls is bool or not (issubclass(cls, _KEYS) or is_lazy_text(cls)):
            _refuse(place, f"a {type_name(cls)} can't be a key in JSON")
        _explain_leaf(key, place)
        try:
            (text,) = from_text(to_text({key: None}))
        except Exception:
            _refuse(place, f"a {type_name(cls)} like this can't be a key in JSON")
        if text in texts:
            _refuse(place, "two keys are the same once they are JSON")
        texts.add(text)


def _explain_model(value: Any, path: str, depth: int) -> None:
    name = type_name(type(value))
    try:
        text = to_text(value)
    except Exception:
        _refuse(path, f"the model {name} can't be dumped as JSON")
    _explain(from_text(text), path, depth)
    try:
        faithful = bool(type(value).model_validate_json(text, strict=True) == value)
    except Exception:
        faithful = False
    if not faithful:
        _refuse(path, f"the model {name} does not validate back, from its dump, as what it is")


# As its own type.


def _explain_typed(value: Any, path: str) -> None:
    cls = type(value)
    try:
        info = type_info(cls)
    except TypeError:
        # It can be stored all the same, and is read without a type.
        return
    try:
        back = info.decode(to_text(value))
    except msgspec.ValidationError as error:
        place = place_of(error).removeprefix("$")
        _refuse(path + place, f"{type_name(cls)} declares another type than what is there")
    # Whatever the class itself raises when it is made.
    except Exception as error:
        _refuse(path, f"{type_name(cls)} does not read back, but raises {type_name(type(error))}")
    _compare(value, back, info.node, path)


def _compare(value: Any, back: Any, node: Any, path: str) -> None:
    """Refuse `back` unless it is what `value` was, at a place declared as `node`."""
    if isinstance(node, inspect.UnionType):
        node = _member(node, back)
    if node is None or isinstance(node, inspect.AnyType):
        # Read as plain JSON, and found to be plain JSON already.
        return
    if not _is_kind(value, back):
        _refuse(path, f"a {type_name(type(value))} would read back as a {type_name(type(back))}")
    if isinstance(node, inspect.TypedDictType):
        declared = {field.encode_name: field.type for field in node.fields}
        if value.keys() != back.keys():
            _refuse(path, f"{type_name(node.cls)} does not declare every key that is there")
        for key in back:
            _compare(value[key], back[key], declared[key], _step(path, key))
    elif isinstance(node, inspect.DictType):
        if len(value) != len(back):
            _refuse(path, "two keys are the same once they are JSON")
        for (key, item), (back_key, back_item) in zip(value.items(), back.items(), strict=True):
            _compare(key, back_key, node.key_type, f"a key of {path}")
            _compare(item, back_item, node.value_type, _step(path, key))
    elif isinstance(node, inspect.SetType | inspect.FrozenSetType):
        if len(value) != len(back):
            _refuse(path, "two members are the same once they are JSON")
        # Members come back in another order; only their text says which is which.
        pairs = zip(sorted(value, key=to_text), sorted(back, key=to_text), strict=True)
        for item, back_item in pairs:
            _compare(item, back_item, node.item_type, _step(path, ...))
    elif isinstance(node, inspect.ListType | inspect.VarTupleType):
        for index, (item, back_item) in enumerate(zip(value, back, strict=True)):
            _compare(item, back_item, node.item_type, _step(path, index))
    elif isinstance(node, inspect.TupleType):
        for index, item in enumerate(value):
            _compare(item, back[index], node.item_types[index], _step(path, index))
    elif hasattr(node, "fields"):
        for field in node.fields:
            item = getattr(value, field.name, msgspec.UNSET)
            back_item = getattr(back, field.name, msgspec.UNSET)
            _compare(item, back_item, field.type, _step(path, field.name))
    elif not _is_same(value, back):
        _refuse(path, f"this {type_name(type(value))} would read back as something else")


def _member(node: inspect.UnionType, back: Any) -> Any:
    """Return the type of the union that `back` was read as; msgspec allows one of a kind."""
    cls = type(back)
    for member in node.types:
        if isinstance(member, inspect.AnyType):
            return None
        if isinstance(member, _CONTAINERS.get(cls, ())) or getattr(member, "cls", None) is cls:
            return member
    # A scalar: whichever it is, it is compared as what it is.
    return inspect.NoneType()


_CONTAINERS: Final[dict[type, tuple[type, ...]]] = {
    list: (inspect.ListType,),
    tuple: (inspect.TupleType, inspect.VarTupleType),
    set: (inspect.SetType,),
    frozenset: (inspect.FrozenSetType,),
    dict: (inspect.DictType, inspect.TypedDictType),
}


def _is_kind(value: Any, back: Any) -> bool:
    """Return whether `value` is of the type that came back, or of one that counts as it."""
    cls: Any = type(value)
    kind: Any = type(back)
    if cls is kind:
        return True
    # What has fields is itself, never its base class.
    if field_names(kind) is not None or field_names(cls) is not None or is_model(kind):
        return False
    return (
        issubclass(cls, kind)
        or (kind is float and issubclass(cls, int))
        or (kind is str and is_lazy_text(cls))
        or (kind in _BYTES and issubclass(cls, _BYTES))
        or (kind in (set, frozenset) and issubclass(cls, set | frozenset))
    )


def _is_finite(number: float | Decimal) -> bool:
    # A signaling NaN is nothing that math.isfinite() takes.
    return number.is_finite() if isinstance(number, Decimal) else isfinite(number)


def _is_same(value: Any, back: Any) -> bool:
    if isinstance(value, datetime) and isinstance(back, datetime):
        # By ==, a moment that a clock change repeats is equal to none in another timezone.
        return value.utcoffset() == back.utcoffset() and value.replace(
            tzinfo=None, fold=0
        ) == back.replace(tzinfo=None, fold=0)
    return bool(value == back)
