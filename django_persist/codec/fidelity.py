"""The thorough check of whether a value reads back as what was written.

`check` walks through the value in Python and raises an error with the path to the first part that
would not read back. It takes about a hundred times as long as encoding, so it only runs on values
that the checks in `quick` can't confirm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final, NoReturn, TypeAlias
from uuid import UUID

import msgspec
from msgspec import inspect

from ..exceptions import EncodeError
from ..interruptions import raise_if_from_outside
from .pydantic_models import dump_model, is_model, load_model
from .text import from_text, to_text
from .types import error_path, field_names, is_lazy_text, type_info, type_name

MAX_DEPTH: Final = 200
"""How many levels a value can nest. It is far below the recursion limit, so that whatever was
written can be read, however deep in the call stack the reader is."""

_MINUTE: Final = timedelta(minutes=1)

_ZONE_REASON: Final = (
    "the time would read back without its timezone, whose UTC offset depends on the date; store a "
    "datetime, or the time without the zone and the zone's name"
)

_BYTES_TYPES: Final = (bytes, bytearray, memoryview)
# Types whose JSON is a string that has to be parsed to read them back.
_PARSED_TYPES: Final = (datetime, date, time, timedelta, UUID, Decimal, *_BYTES_TYPES)
_LEAF_TYPES: Final = (str, int, float, type(None), Enum, *_PARSED_TYPES)
_KEY_TYPES: Final = (str, int, float, Enum, *_PARSED_TYPES)

# What `inspect` calls the types that each container can be read back as.
_CONTAINER_NODES: Final[dict[type, tuple[type, ...]]] = {
    list: (inspect.ListType,),
    tuple: (inspect.TupleType, inspect.VarTupleType),
    set: (inspect.SetType,),
    frozenset: (inspect.FrozenSetType,),
    dict: (inspect.DictType, inspect.TypedDictType),
}

_Part: TypeAlias = tuple[Any, Any, Any, str]
"""A part of a value, the same part as it was read back, its declared type, and its path."""


def check(value: Any) -> None:
    """Raise EncodeError, with the path and the reason, if the value would not read back."""
    _check(value, "$", 0)


def dropped_path(plain: Any, back: Any, path: str = "$") -> str | None:
    """Return the path to the first field of some plain JSON that `back` doesn't have, or None."""
    pairs: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(plain, dict) and isinstance(back, dict):
        for key in plain:
            if key not in back:
                return _step(path, key)
        pairs = ((key, item, back[key]) for key, item in plain.items())
    elif isinstance(plain, list) and isinstance(back, list):
        pairs = ((i, *both) for i, both in enumerate(zip(plain, back, strict=False)))
    found = (dropped_path(item, other, _step(path, key)) for key, item, other in pairs)
    return next(filter(None, found), None)


def changed_path(value: Any, back: Any, path: str = "$") -> str | None:
    """Return the path to the first number that reads back as another one, or as a str, or None.

    Values that read back as other classes are compared too: a tuple as a list, but not a dict as
    an object.
    """
    cls: Any = type(value)
    if isinstance(value, int | float):
        return path if isinstance(back, int | float | str) and value != back else None
    parts: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(value, dict) and isinstance(back, dict):
        for key, back_key in zip(value, back, strict=False):
            if changed_path(key, back_key):
                return f"a key of {path}"
        pairs = zip(value.values(), back.values(), strict=False)
        parts = ((key, *pair) for key, pair in zip(value, pairs, strict=False))
    elif isinstance(value, list | tuple) and isinstance(back, list | tuple):
        parts = ((i, *pair) for i, pair in enumerate(zip(value, back, strict=False)))
    elif isinstance(value, set | frozenset) and isinstance(back, set | frozenset):
        return path if any(isinstance(m, int | float) and m not in back for m in value) else None
    elif type(back) is type(value):
        names = field_names(cls) or ()
        parts = ((name, getattr(value, name, None), getattr(back, name, None)) for name in names)
    found = (changed_path(item, other, _step(path, step)) for step, item, other in parts)
    return next(filter(None, found), None)


def refuse_typed(value: Any, back: Any, path: str = "$") -> NoReturn:
    """Raise EncodeError with the path to the first part that is not equal as plain JSON."""
    pairs: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(value, dict) and value.keys() == back.keys():
        pairs = ((key, item, back[key]) for key, item in value.items())
    elif isinstance(value, list):
        pairs = ((i, *both) for i, both in enumerate(zip(value, back, strict=True)))
    for key, item, other in pairs:
        if item != other:
            refuse_typed(item, other, _step(path, key))
    _refuse(path, f"{type_name(type(value))} does not read back without its type")


def has_whole_minute_offset(value: datetime | time) -> bool:
    """Return whether the UTC offset is a whole number of minutes; msgspec rounds other offsets."""
    offset = value.utcoffset()
    return offset is None or not offset % _MINUTE


def has_zone_without_offset(value: time) -> bool:
    """Return whether the time is of a zone whose UTC offset depends on the date."""
    return value.tzinfo is not None and value.utcoffset() is None


def _refuse(path: str, reason: str) -> NoReturn:
    # "from None" because the errors of msgspec, codecs and pydantic contain the value.
    raise EncodeError(f"The value can't be stored: at {path}, {reason}.") from None


def _step(path: str, key: Any) -> str:
    """Return the path to a field, key or index below `path`."""
    # A longer path helps nobody.
    if len(path) > 200:
        return path if path.endswith("…") else f"{path}…"
    if isinstance(key, int):
        return f"{path}[{key}]"
    # A key that isn't an identifier could be data, like an e-mail address.
    return f"{path}.{key}" if type(key) is str and key.isidentifier() else f"{path}[...]"


# Does it read back without a type, as the plain JSON that it stands for?


def _check(value: Any, path: str, depth: int) -> None:
    cls: Any = type(value)
    names = field_names(cls)
    model = is_model(cls)
    if issubclass(cls, Enum):
        _check(value.value, path, depth)
        _check_leaf(value, path)
        return
    if names is None and not model and not issubclass(cls, dict | list | tuple | set | frozenset):
        _check_leaf(value, path)
        return
    if depth == MAX_DEPTH:
        _refuse(path, f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if model:
        _check_model(value, path, depth)
    elif names is not None:
        if hasattr(cls, "__attrs_attrs__"):
            # msgspec encodes everything in the __dict__ of an attrs object, not only its fields.
            names = (*dict.fromkeys((*names, *getattr(value, "__dict__", ()))),)
        for name in names:
            field = getattr(value, name, msgspec.UNSET)
            if field is not msgspec.UNSET:
                _check(field, _step(path, name), depth + 1)
        _check_as_own_type(value, path)
    elif issubclass(cls, dict):
        # The methods of a subclass could show something else than what msgspec encodes.
        _check_keys(value, path)
        for key, item in dict.items(value):
            _check(item, _step(path, key if isinstance(key, str) else ...), depth + 1)
    else:
        items = list.__iter__(value) if issubclass(cls, list) else value
        for index, item in enumerate(items):
            _check(item, _step(path, index), depth + 1)


def _check_leaf(value: Any, path: str) -> None:
    cls = type(value)
    if issubclass(cls, float | Decimal) and not _is_finite(value):
        _refuse(path, "JSON has no NaN or infinity")
    if issubclass(cls, datetime | time) and not has_whole_minute_offset(value):
        _refuse(path, "the UTC offset isn't a whole number of minutes")
    if issubclass(cls, time) and has_zone_without_offset(value):
        _refuse(path, _ZONE_REASON)
    if not issubclass(cls, _LEAF_TYPES) and not is_lazy_text(cls):
        _refuse(path, f"values of type {type_name(cls)} can't be encoded as JSON")
    try:
        text = to_text(value)
    except UnicodeError:
        _refuse(path, "the text contains a lone surrogate, which UTF-8 can't encode")
    except Exception as error:
        raise_if_from_outside(error)
        _refuse(path, f"this {type_name(cls)} can't be encoded as JSON")
    base = next((t for t in _PARSED_TYPES if issubclass(cls, t)), None)
    as_ = cls if issubclass(cls, Enum) else base
    if as_ is None:
        return
    try:
        decode = type_info(as_).decode
    except TypeError:
        # An Enum with values of several types. It can be stored, and is read without a type.
        return
    try:
        reads_back = _is_same(value, decode(text))
    except Exception as error:
        raise_if_from_outside(error)
        reads_back = False
    if not reads_back:
        _refuse(path, f"this {type_name(cls)} would not read back as the same value")


def _check_keys(value: Any, path: str) -> None:
    texts: set[str] = set()
    key_path = f"a key of {path}"
    for key in dict.keys(value):
        cls = type(key)
        if cls is bool or not (issubclass(cls, _KEY_TYPES) or is_lazy_text(cls)):
            _refuse(key_path, f"values of type {type_name(cls)} can't be keys in JSON")
        _check_leaf(key, key_path)
        try:
            (text,) = from_text(to_text({key: None}))
        except Exception as error:
            raise_if_from_outside(error)
            _refuse(key_path, f"this {type_name(cls)} can't be a key in JSON")
        if text in texts:
            _refuse(key_path, "two keys become the same key in JSON")
        texts.add(text)


def _check_model(value: Any, path: str, depth: int) -> None:
    cls = type(value)
    try:
        text = to_text(value)
    except Exception as error:
        raise_if_from_outside(error)
        _refuse_dump(value, path)
    _check(from_text(text), path, depth)
    try:
        back = load_model(cls, from_text(text))
    except Exception as error:
        raise_if_from_outside(error)
        _refuse_load(value, path, error)
    _compare_models(value, back, path)


def _refuse_dump(value: Any, path: str, seen: tuple[int, ...] = ()) -> NoReturn:
    """Refuse a model that can't be dumped, with the path to the part of it that is the reason."""
    if id(value) in seen:
        _refuse(path, "the model contains itself")
    name, fields = type_name(type(value)), _items(value)
    for step, item in fields:
        try:
            if is_model(type(value)):
                to_text(dump_model(value, {step}))
            else:
                to_text(item)
        except Exception as error:
            raise_if_from_outside(error)
            _refuse_dump(item, _step(path, step), (*seen, id(value)))
    _refuse(path, f"this {name} can't be dumped as JSON")


def _refuse_load(value: Any, path: str, error: Exception) -> NoReturn:
    """Refuse a model whose JSON isn't valid for it, with pydantic's reason but no value."""
    name = type_name(type(value))
    reason = f"the JSON that the model {name} dumps doesn't validate again"
    try:
        # Only the place and the name of the error: the message contains the value.
        detail: Any = error.errors(include_url=False, include_input=False)[0]  # type: ignore[attr-defined]
        for step in detail["loc"]:
            # Between the fields, pydantic names members of unions, like "list[int]".
            if isinstance(step, int) or step.isidentifier():
                path = _step(path, step)
        reason = f"{reason} (pydantic: {detail['type']})"
    except Exception as detail_error:
        raise_if_from_outside(detail_error)
    _refuse(path, reason)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the fields of an object, or what is in a container, with the step to each."""
    cls: Any = type(value)
    if is_model(cls):
        yield from value.__dict__.items()
        yield from (value.__pydantic_extra__ or {}).items()
    elif (names := field_names(cls)) is not None:
        yield from ((name, getattr(value, name, None)) for name in names)
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, set | frozenset):
        yield from ((..., member) for member in _sorted(value))


def _compare_models(value: Any, back: Any, path: str) -> None:
    """Raise EncodeError unless two values of a model, or of its fields, are the same.

    Not with ==: a NaN equals nothing, and a time that occurs twice no other time.
    """
    cls: Any = type(value)
    back_cls: Any = type(back)
    if cls is not back_cls:
        _refuse(path, f"{type_name(cls)} would read back as {type_name(back_cls)}")
    if is_model(cls):
        _compare_private(value, back, path)
        is_root = bool(getattr(cls, "__pydantic_root_model__", False))
        back_parts = dict(_items(back))
        for field, part in _items(value):
            # It isn't there if it is a cached_property.
            if field in back_parts:
                step = path if is_root else _step(path, field)
                _compare_models(part, back_parts[field], step)
    elif field_names(cls) is not None or (cls in _CONTAINER_NODES and len(value) == len(back)):
        pairs = zip(_items(value), _items(back), strict=True)
        for (step, item), (back_step, back_item) in pairs:
            if cls is dict:
                _compare_models(step, back_step, f"a key of {path}")
            _compare_models(item, back_item, _step(path, step))
    elif issubclass(cls, time) and has_zone_without_offset(value):
        _refuse(path, _ZONE_REASON)
    elif not (_is_same(value, back) or _are_nan(value, back)):
        _refuse(path, f"this {type_name(cls)} would read back as a different value")


def _compare_private(value: Any, back: Any, path: str) -> None:
    private = getattr(value, "__pydantic_private__", None) or {}
    back_private = getattr(back, "__pydantic_private__", None) or {}
    for name in dict.fromkeys((*private, *back_private)):
        one, other = private.get(name, msgspec.UNSET), back_private.get(name, msgspec.UNSET)
        if one is not other and not _is_same(one, other):
            _refuse(_step(path, name), "pydantic doesn't dump private attributes")


def _are_nan(value: Any, back: Any) -> bool:
    return isinstance(value, float | Decimal) and bool(value != value and back != back)


# Does it read back as its own type?


def _check_as_own_type(value: Any, path: str) -> None:
    cls = type(value)
    try:
        info = type_info(cls)
    except TypeError:
        # It can be stored nevertheless, and is read without a type.
        return
    try:
        back = info.decode(to_text(value))
    except msgspec.ValidationError as error:
        inner_path = error_path(error).removeprefix("$")
        _refuse(path + inner_path, f"the value isn't of the type that {type_name(cls)} declares")
    # The class's own code can raise anything when an object is created.
    except Exception as error:
        raise_if_from_outside(error)
        _refuse(path, f"reading the {type_name(cls)} back raises {type_name(type(error))}")
    _compare(value, back, info.node, path)


def _compare(value: Any, back: Any, node: Any, path: str) -> None:
    """Raise EncodeError unless `back`, read as the type `node`, is the same as `value`."""
    if isinstance(node, inspect.UnionType):
        node = _member(node, back)
    if node is None or isinstance(node, inspect.AnyType):
        # It is read as plain JSON, which `_check` has checked already.
        return
    if not _is_kind(value, back):
        _refuse(path, f"{type_name(type(value))} would read back as {type_name(type(back))}")
    if is_model(type(back)):
        _compare_models(value, back, path)
        return
    parts = _parts(value, back, node, path)
    if parts is not None:
        for part in parts:
            _compare(*part)
    elif not _is_same(value, back):
        _refuse(path, f"this {type_name(type(value))} would read back as a different value")


def _parts(value: Any, back: Any, node: Any, path: str) -> Iterator[_Part] | None:
    """Return the parts to compare; None for a value that has no parts."""
    if isinstance(node, inspect.TypedDictType):
        return _typed_dict_parts(value, back, node, path)
    if isinstance(node, inspect.DictType):
        return _dict_parts(value, back, node, path)
    if isinstance(node, inspect.SetType | inspect.FrozenSetType):
        return _set_parts(value, back, node, path)
    if isinstance(node, inspect.ListType | inspect.VarTupleType):
        return (
            (item, back_item, node.item_type, _step(path, index))
            for index, (item, back_item) in enumerate(zip(value, back, strict=True))
        )
    if isinstance(node, inspect.TupleType):
        return (
            (item, back[index], node.item_types[index], _step(path, index))
            for index, item in enumerate(value)
        )
    if hasattr(node, "fields"):
        return (
            (
                getattr(value, field.name, msgspec.UNSET),
                getattr(back, field.name, msgspec.UNSET),
                field.type,
                _step(path, field.name),
            )
            for field in node.fields
        )
    return None


def _typed_dict_parts(
    value: Any, back: Any, node: inspect.TypedDictType, path: str
) -> Iterator[_Part]:
    declared = {field.encode_name: field.type for field in node.fields}
    if value.keys() != back.keys():
        _refuse(path, f"{type_name(node.cls)} doesn't declare every key of this dict")
    for key in back:
        yield value[key], back[key], declared[key], _step(path, key)


def _dict_parts(value: Any, back: Any, node: inspect.DictType, path: str) -> Iterator[_Part]:
    if len(value) != len(back):
        _refuse(path, "two keys become the same key in JSON")
    for (key, item), (back_key, back_item) in zip(value.items(), back.items(), strict=True):
        yield key, back_key, node.key_type, f"a key of {path}"
        yield item, back_item, node.value_type, _step(path, key)


def _set_parts(
    value: Any, back: Any, node: inspect.SetType | inspect.FrozenSetType, path: str
) -> Iterator[_Part]:
    if len(value) != len(back):
        _refuse(path, "two members become the same in JSON")
    for item, back_item in zip(_sorted(value), _sorted(back), strict=True):
        yield item, back_item, node.item_type, _step(path, ...)


def _sorted(members: Iterable[Any]) -> list[Any]:
    """Return the members of a set in the order of their JSON, which reading back doesn't change."""

    def text(member: Any) -> bytes:
        try:
            return to_text(member)
        except Exception as error:
            raise_if_from_outside(error)
            # Only pydantic can encode it.
            return repr(member).encode()

    return sorted(members, key=text)


def _member(node: inspect.UnionType, back: Any) -> Any:
    """Return the member of the union that `back` was read as; None if that is Any."""
    cls = type(back)
    for member in node.types:
        if isinstance(member, inspect.AnyType):
            return None
        # msgspec allows only one member of each kind of container.
        if isinstance(member, _CONTAINER_NODES.get(cls, ())) or getattr(member, "cls", None) is cls:
            return member
    # It is a scalar. All scalars are compared in the same way, so any scalar type will do.
    return inspect.NoneType()


def _is_kind(value: Any, back: Any) -> bool:
    """Return whether `value` is of the type of `back`, or of one that may read back as it."""
    cls: Any = type(value)
    back_cls: Any = type(back)
    if cls is back_cls:
        return True
    # An object with fields must read back as its own class, not as a base class.
    if field_names(back_cls) is not None or field_names(cls) is not None or is_model(back_cls):
        return False
    return (
        issubclass(cls, back_cls)
        or (back_cls is float and issubclass(cls, int))
        or (back_cls is str and is_lazy_text(cls))
        or (back_cls in _BYTES_TYPES and issubclass(cls, _BYTES_TYPES))
        or (back_cls in (set, frozenset) and issubclass(cls, set | frozenset))
    )


def _is_finite(number: float | Decimal) -> bool:
    # math.isfinite() raises for a Decimal that is a signaling NaN.
    return number.is_finite() if isinstance(number, Decimal) else isfinite(number)


def _is_same(value: Any, back: Any) -> bool:
    if isinstance(value, datetime) and isinstance(back, datetime):
        # Not value == back: a local time that occurs twice, as the clocks go back, equals no
        # datetime in another timezone.
        return value.utcoffset() == back.utcoffset() and value.replace(
            tzinfo=None, fold=0
        ) == back.replace(tzinfo=None, fold=0)
    return bool(value == back)
