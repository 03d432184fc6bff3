"""JSON text: how msgspec encodes values and decodes plain JSON.

Nothing in this module checks whether a value reads back as what it was: that is `fidelity`.
Decoding as a type is in `types`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final

import msgspec

from .pydantic_models import dump_model, is_model
from .types import CACHED_TYPES, is_lazy_text


def _converters() -> dict[type, Callable[[Any], Any]]:
    """Return how to convert an object of a subclass to each of these base classes."""
    # Local names keep the real classes: freezegun only replaces a module's global names.
    datetime_, date_ = datetime, date
    return {
        str: str.__str__,
        int: int.__int__,
        float: float.__float__,
        bytes: lambda v: bytes(memoryview(v)),
        bytearray: lambda v: bytes(memoryview(v)),
        datetime_: lambda v: datetime_.combine(
            date_(v.year, v.month, v.day),
            time(v.hour, v.minute, v.second, v.microsecond, fold=v.fold),
            v.tzinfo,
        ),
        date_: lambda v: date_(v.year, v.month, v.day),
        time: lambda v: time(v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold),
        timedelta: lambda v: timedelta(v.days, v.seconds, v.microseconds),
        Decimal: Decimal,
    }


# msgspec encodes these classes itself, but passes objects of their subclasses to the hook.
_CONVERTERS: Final = _converters()


@lru_cache(CACHED_TYPES)
def _converter(cls: type) -> Callable[[Any], Any] | None:
    """Return how to convert objects that msgspec can't encode itself; None if nothing can."""
    if is_lazy_text(cls):
        return str
    # msgspec passes a bool to the hook only if it is a key. A bool isn't accepted as a key.
    if cls is not bool:
        for base, convert in _CONVERTERS.items():
            if cls is not base and issubclass(cls, base):
                return convert
    return dump_model if is_model(cls) else None


def _enc_hook(value: Any) -> Any:
    """Convert an object that msgspec can't encode itself to one that it can."""
    # Not isinstance(): a SimpleLazyObject pretends to have the class of the object it wraps.
    cls: Any = type(value)
    convert = _converter(cls)
    if convert is None:
        raise TypeError(f"{cls.__name__} isn't a type that can be stored.")
    return convert(value)


_encoder: Final = msgspec.json.Encoder(enc_hook=_enc_hook)
_decoder: Final = msgspec.json.Decoder()

to_text: Final = _encoder.encode
"""Encode a value as JSON text without checking that it reads back: NaN becomes null, and different
keys can become the same key. Raises what msgspec and the value's own code raise."""

with_times: Final = partial(msgspec.to_builtins, builtin_types=(time,), enc_hook=_enc_hook)
"""Convert a value to plain JSON in which objects of datetime.time stay as they are."""

from_text: Final = _decoder.decode
"""Decode JSON text to plain JSON. Raises what msgspec raises."""


def has_repeated_names(text: str | bytes) -> bool:
    """Return whether an object in a JSON text has a name twice: only the last one would be read."""
    repeated = False

    def look_at(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=look_at, parse_int=len, parse_float=len)
    return repeated


to_lines: Final = _encoder.encode_lines
"""Encode many values, each followed by a line break. It takes less than half as long as a call of
`to_text` for each. msgspec itself writes no line break within a value, but copies those of a
msgspec.Raw."""
