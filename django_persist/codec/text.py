"""JSON text below the codec: one encoder, a decoder per type, and what msgspec needs to be told.

Nothing here judges whether a value survives the way there and back: that is `fidelity`.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import inf
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec
from django.utils.functional import Promise
from msgspec import inspect

CACHED_TYPES: Final = 512
"""How many types keep what was worked out for them: classes made in functions must not add up."""


def is_model(cls: type) -> bool:
    """Return whether `cls` is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def is_lazy_text(cls: type) -> bool:
    """Return whether `cls` is the type of Django's lazy strings (and not of, say, lazy numbers)."""
    return issubclass(cls, Promise) and hasattr(cls, "casefold")


_MOMENTS: Final = (datetime, date)


def _moment_type(cls: type) -> type | None:
    """Return datetime or date where `cls` is that, or a class that takes its place in a test.

    freezegun puts such a class wherever a module has the real one, under `datetime` itself too, so
    that msgspec's `inspect` takes the real one for a stranger.
    """
    return next(
        (base for base in _MOMENTS if issubclass(cls, base) and issubclass(base, cls)), None
    )


def _bases() -> dict[type, Callable[[Any], Any]]:
    # Local names, which freezegun doesn't replace by its fake classes, as it does a module's.
    moment, day, clock, span, number = datetime, date, time, timedelta, Decimal
    return {
        str: str.__str__,
        int: int.__int__,
        float: float.__float__,
        bytes: lambda v: bytes(memoryview(v)),
        bytearray: lambda v: bytes(memoryview(v)),
        moment: lambda v: moment.combine(
            day(v.year, v.month, v.day),
            clock(v.hour, v.minute, v.second, v.microsecond, fold=v.fold),
            v.tzinfo,
        ),
        day: lambda v: day(v.year, v.month, v.day),
        clock: lambda v: clock(v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
        span: lambda v: span(v.days, v.seconds, v.microseconds),
        number: number,
    }


# msgspec takes these exact types, and hands what is derived from them to the hook.
_BASES: Final = _bases()


def _enc_hook(value: Any) -> Any:
    # The type is asked, not the object: a SimpleLazyObject claims the class of what it wraps.
    cls = type(value)
    if is_lazy_text(cls):
        return str(value)
    # True and False come here only as keys.
    if cls is not bool:
        for base, convert in _BASES.items():
            if cls is not base and issubclass(cls, base):
                return convert(value)
    if is_model(cls):
        # pydantic's warnings print what they are about.
        return value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    raise TypeError(f"{cls.__name__} isn't a type that can be stored.")


def _dec_hook(cls: Any, plain: Any) -> Any:
    if (moment := _moment_type(cls)) is not None:
        return msgspec.convert(plain, moment)
    # From JSON text pydantic's strict mode takes a date from a str, but no int from one.
    return cls.model_validate_json(to_text(plain), strict=True)


_encoder: Final = msgspec.json.Encoder(enc_hook=_enc_hook)
_decoder: Final = msgspec.json.Decoder()

to_text: Final = _encoder.encode
"""Encode as msgspec does: NaN becomes null, keys may fall together. Raises what msgspec raises."""

from_text: Final = _decoder.decode
"""Decode to plain JSON. Raises what msgspec raises."""

to_lines: Final = _encoder.encode_lines
"""Encode many values, for less than half of what a call for each takes. What msgspec itself writes
has no line break, so that each line is a text."""


def _json(levels: int) -> Any:
    """Return the type of JSON that has so many levels at most."""
    scalar: Any = None | bool | int | float | str
    form, sequence, mapping = scalar, cast("Any", list), cast("Any", dict)
    for _ in range(levels):
        form = scalar | sequence[form] | mapping[str, form]
    return form


# Its size doubles with each level: five take it a millisecond, once.
_Json: Final[Any] = msgspec.defstruct("_Json", [("value", _json(5))])


def is_json(value: Any) -> bool:
    """Return whether a value is equal to one of JSON's own types, and has few levels.

    It takes a third less time than to read back what was written, and makes no new texts. As equal
    passes what is derived from these types, a Decimal that a float has exactly, and NaN.
    """
    with suppress(Exception):
        return bool(msgspec.convert({"value": value}, _Json).value == value)
    return False


class TypeInfo:
    """A type that msgspec can validate: its decoder, and its structure as msgspec sees it."""

    __slots__ = ("decode", "is_comparable", "levels", "node")

    def __init__(self, form: Any) -> None:
        self.node = inspect.type_info(form)
        self.is_comparable = True  # by ==, which then looks at every field
        self.levels = _levels(self.node, ())
        for node in _nodes(self.node):
            self.is_comparable &= _is_comparable(getattr(node, "cls", None))
            # Only `inspect` calls an Enum custom whose metaclass is its own, as Django's choices.
            if isinstance(node, inspect.CustomType) and not (
                is_model(node.cls) or issubclass(node.cls, Enum) or _moment_type(node.cls)
            ):
                raise TypeError(f"{type_name(node.cls)} can't be validated.")
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(form, dec_hook=_dec_hook)
        self.decode: Callable[[str | bytes], Any] = decoder.decode


def _is_comparable(cls: Any) -> bool:
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
    """Yield a type and all that it is made of, each once."""
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


def _levels(node: inspect.Type, within: tuple[int, ...]) -> float:
    """Return how many levels values of a type have at most: no bound where it holds itself."""
    if id(node) in within or isinstance(node, inspect.AnyType | inspect.CustomType):
        return inf
    within = (*within, id(node))
    return 1 + max((_levels(child, within) for child in _children(node)), default=0)


def type_info(form: Any) -> TypeInfo:
    """Return the decoder and the structure of a type.

    Raises TypeError, naming the type, where its values can't be validated.
    """
    try:
        return _cached_info(form)
    except TypeError:
        # Not hashable, as Annotated[int, [...]] is; or refused, and then said again below.
        pass
    return _make_info(form)


def _make_info(form: Any) -> TypeInfo:
    try:
        return TypeInfo(form)
    # Beside its own TypeError msgspec lets through what annotations raise, NameError above all.
    except Exception as error:
        raise TypeError(
            f"{type_name(form)} is not a type whose values can be validated: {error}"
        ) from error


_cached_info: Final = lru_cache(CACHED_TYPES)(_make_info)


def type_name(form: Any) -> str:
    """Return a type as its author would write it: "Cart", "list[Cart]", "int | None"."""
    origin, args = get_origin(form), get_args(form)
    if form is None or form is type(None):
        return "None"
    if form is ...:
        return "..."
    if origin is Annotated:
        return type_name(args[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(type_name, args))
    if origin is not None and args:
        return f"{type_name(origin)}[{', '.join(map(type_name, args))}]"
    return str(getattr(form, "__name__", None) or repr(form).removeprefix("typing."))


# The end of msgspec's own messages: declared names, indices, and [...] for whatever key a dict had.
_PLACE: Final = re.compile(r" - at (?:`key` in )?`(\$(?:\.\w+|\[\d+\]|\[\.\.\.\])*)`\Z")


def place_of(error: msgspec.ValidationError) -> str:
    """Return where in the text the error is, like `$.items[3]`, or "" where none is safe."""
    message = str(error)
    if error.__cause__ is not None:
        # A hook or a __post_init__ wrote it, and may have put anything there.
        message = message.removeprefix(str(error.__cause__))
    elif message.startswith("Object contains unknown field"):
        return ""
    found = _PLACE.search(message)
    return found[1] if found else ""
