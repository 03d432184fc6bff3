"""The types of values: what they are called, their fields, and how msgspec validates them.

Nothing in this module encodes a value: that is `text`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from math import inf
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
import typing_extensions
from django.utils.functional import Promise
from msgspec import inspect

from ..interruptions import raise_if_from_outside
from .pydantic_models import has_times, is_model, load_model

CACHED_TYPES: Final = 512
"""How many types each cache keeps: a program can create new types for as long as it runs."""


# Classes that need special treatment.


def is_lazy_text(cls: type) -> bool:
    """Return whether `cls` is the class of Django's lazy strings, not of other lazy values."""
    return issubclass(cls, Promise) and hasattr(cls, "casefold")


# This tuple keeps the real classes: freezegun only replaces a module's global names.
_DATETIME_TYPES: Final = (datetime, date)


def _datetime_type(cls: type) -> type | None:
    """Return datetime or date if `cls` is that class or freezegun's fake of it, else None.

    freezegun puts its fakes into the module `datetime` too. While they are there, msgspec takes the
    fake class for a custom type, and its `inspect` takes the real class for one.
    """
    for base in _DATETIME_TYPES:
        if issubclass(cls, base) and issubclass(base, cls):
            return base
    return None


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


# Types that msgspec can validate.


class TypeInfo:
    """A type that msgspec can validate.

    `decode` decodes JSON text as the type, `node` is the type's structure as msgspec sees it,
    `max_depth` is how many levels its values can nest (inf if there is no limit),
    `is_comparable` says whether == on its values compares every field, and `has_times` whether they
    can contain a time: those with and without a zone can be equal.
    """

    __slots__ = ("decode", "has_times", "is_comparable", "max_depth", "node")

    def __init__(self, type_: Any) -> None:
        self.node = inspect.type_info(type_)
        self.max_depth = _max_depth(self.node, ())
        self.is_comparable = True
        self.has_times = False
        for node in _nodes(self.node):
            self.is_comparable &= _is_comparable(getattr(node, "cls", None))
            self.has_times |= isinstance(node, inspect.TimeType)
            if isinstance(node, inspect.CustomType) and not _is_supported(node.cls):
                raise TypeError(f"{type_name(node.cls)} can't be validated.")
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(type_, dec_hook=_dec_hook)
        self.decode: Callable[[str | bytes], Any] = decoder.decode


def type_info(type_: Any) -> TypeInfo:
    """Return the decoder and the structure of a type.

    Raises TypeError, which names the type, if its values can't be validated.
    """
    try:
        return cached_type_info(type_)
    except TypeError:
        # Either the type isn't hashable, like Annotated[int, [...]], and so can't be cached. Or it
        # can't be validated; then the next line raises the same error again.
        pass
    return _make_type_info(type_)


def _make_type_info(type_: Any) -> TypeInfo:
    try:
        return TypeInfo(type_)
    # msgspec raises TypeError, but evaluating annotations can raise anything, mostly NameError.
    except Exception as error:
        raise_if_from_outside(error)
        raise TypeError(
            f"{type_name(type_)} is not a type whose values can be validated: "
            f"{str(error).partition(chr(10))[0].rstrip('.')}.{_reason(type_)}"
        ) from error


def _reason(type_: Any) -> str:
    """Return which part of a type can't be validated, and what to use in its place."""
    path, part = _invalid_part(type_, "", set())
    where = f"{path} ({type_name(part)})" if path else type_name(part)
    reason = f" The reason is {where}."
    if get_origin(part) in (Union, UnionType):
        reason += (
            " Give the members of a union a tag, as in `class Card(msgspec.Struct, tag=True)`, or "
            "use a pydantic RootModel, with Annotated[..., Field(discriminator=...)] in it if they "
            "look alike."
        )
    return reason


def _invalid_part(type_: Any, path: str, seen: set[Any]) -> tuple[str, Any]:
    """Return the innermost part of an invalid type that is invalid, and the field that has it."""
    origin, args = get_origin(type_), get_args(type_)
    # The other arguments of these two are no types.
    args = args[:1] if origin is Annotated else () if origin is Literal else args
    parts, cls = [(path, part) for part in args if part is not ...], origin or type_
    if isinstance(cls, type) and cls not in seen:
        seen.add(cls)
        # Only what the class itself declares as fields; its annotations may be unresolvable.
        try:
            hints = get_type_hints(cls, include_extras=True)
            names = field_names(cls) or (hints if typing_extensions.is_typeddict(cls) else ())
            parts += [(f"{cls.__name__}.{name}", hints[name]) for name in names if name in hints]
        except Exception as error:
            raise_if_from_outside(error)
    for part_path, part in parts:
        if not _is_valid(part):
            return _invalid_part(part, part_path, seen)
    return path, type_


def _is_valid(type_: Any) -> bool:
    try:
        TypeInfo(type_)
    except Exception as error:
        raise_if_from_outside(error)
        return False
    return True


def takes_ints(type_: Any, low: int, high: int) -> bool:
    """Return whether every int from `low` to `high` is of the type. Raises as `type_info` does."""
    return _takes_ints(type_info(type_).node, low, high)


def _takes_ints(node: inspect.Type, low: int, high: int) -> bool:
    match node:
        case inspect.Metadata():
            return _takes_ints(node.type, low, high)
        case inspect.UnionType():
            return any(_takes_ints(member, low, high) for member in node.types)
        case inspect.IntType(multiple_of=None):
            return (
                (node.ge is None or low >= node.ge)
                and (node.gt is None or low > node.gt)
                and (node.le is None or high <= node.le)
                and (node.lt is None or high < node.lt)
            )
    return isinstance(node, inspect.AnyType)


cached_type_info: Final = lru_cache(CACHED_TYPES)(_make_type_info)


def _dec_hook(cls: Any, plain: Any) -> Any:
    """Convert plain JSON to a type that msgspec doesn't support itself."""
    if (datetime_type := _datetime_type(cls)) is not None:
        return msgspec.convert(plain, datetime_type)
    return load_model(cls, plain)


def _is_supported(cls: Any) -> bool:
    """Return whether values of a type that `inspect` calls custom can be decoded all the same."""
    # An Enum whose metaclass isn't EnumMeta, as with Django's choices, is custom only to `inspect`.
    return is_model(cls) or issubclass(cls, Enum) or _datetime_type(cls) is not None


def _is_comparable(cls: Any) -> bool:
    """Return whether == on objects of this class compares every field."""
    if isinstance(cls, type) and is_model(cls):
        return not has_times(cls)
    if hasattr(cls, "__struct_config__"):
        return bool(cls.__struct_config__.eq)
    if dataclasses.is_dataclass(cls):
        return (
            all(field.compare for field in dataclasses.fields(cls))
            and cls.__eq__ is not object.__eq__
        )
    if hasattr(cls, "__attrs_attrs__"):
        return all(field.eq for field in cls.__attrs_attrs__) and cls.__eq__ is not object.__eq__
    return True


def _nodes(root: inspect.Type) -> Iterator[inspect.Type]:
    """Yield a type and every type inside it, each once."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            todo += _children(node)


def _children(node: Any) -> Iterator[inspect.Type]:
    yield from getattr(node, "types", ())
    yield from getattr(node, "item_types", ())
    yield from (field.type for field in getattr(node, "fields", ()))
    for name in ("item_type", "key_type", "value_type"):
        if (child := getattr(node, name, None)) is not None:
            yield child


def _max_depth(node: inspect.Type, parents: tuple[int, ...]) -> float:
    """Return how many levels values of a type can nest: inf for a recursive type or Any."""
    if id(node) in parents or isinstance(node, inspect.AnyType | inspect.CustomType):
        return inf
    parents = (*parents, id(node))
    return 1 + max((_max_depth(child, parents) for child in _children(node)), default=0)


# What error messages say about types.


def type_name(type_: Any) -> str:
    """Return a type as its author would write it: "Cart", "list[Cart]", "int | None"."""
    origin, args = get_origin(type_), get_args(type_)
    if type_ is None or type_ is type(None):
        return "None"
    if type_ is ...:
        return "..."
    if origin is Annotated:
        return type_name(args[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(type_name, args))
    if origin is not None and args:
        return f"{type_name(origin)}[{', '.join(map(type_name, args))}]"
    return str(getattr(type_, "__name__", None) or repr(type_).removeprefix("typing."))


# How msgspec's own messages end. The path has only declared field names and indices; msgspec writes
# [...] for the keys of a dict.
_PATH: Final = re.compile(r" - at (?:`key` in )?`(\$(?:\.\w+|\[\d+\]|\[\.\.\.\])*)`\Z")


def error_path(error: msgspec.ValidationError) -> str:
    """Return where in the text the error is, like `$.items[3]`.

    Returns "" if the message doesn't say where, or if the path could contain part of the value.
    """
    message = str(error)
    if error.__cause__ is not None:
        # This part of the message comes from a hook or a __post_init__, and can contain anything.
        message = message.removeprefix(str(error.__cause__))
    elif message.startswith("Object contains unknown field"):
        return ""
    found = _PATH.search(message)
    return found[1] if found else ""
