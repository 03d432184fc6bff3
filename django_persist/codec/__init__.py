"""Values to JSON text and back.

The text that `encode` returns reads back as the value that was passed: as its own type, or, without
a type, as the same plain JSON. For a value that would not, `encode` raises EncodeError, so that
nothing is written. No error message contains a value.

msgspec, which does the encoding, gives no such promise: it writes NaN as null, {1: "a", "1": "b"}
with the same key twice, and any object in a dataclass's field, whatever type the field declares. So
`encode` checks what it has encoded, in tiers. Each is slower than the one before it, and sees only
the values that the tiers before it couldn't confirm:

1. The type alone confirms a str, int, bool or None. This costs nothing.
2. The checks in `quick` confirm nearly everything else at C speed: by reading the text back, or by
   looking at many values together. They cost one to three times as much as encoding for plain JSON,
   and a microsecond or two more for each object with fields.
3. `fidelity.check` walks through the value in Python, and either confirms it or raises EncodeError
   with the path and the reason. It costs about a hundred times as much as encoding. Few valid
   values get here; an object whose == doesn't compare every field is one.

Decoding needs no such checks: msgspec itself validates strictly. `to_text` and `from_text` are
msgspec's encoder and decoder without these checks, for JSON that isn't stored, like the output of
the commands.

`quick` imports `fidelity`, which imports `text` (encoding, and decoding without a type) and `types`
(decoding as a type).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from ..exceptions import DecodeError, EncodeError
from ..interruptions import raise_if_from_outside
from . import fidelity
from .fidelity import MAX_DEPTH
from .mismatches import describe
from .pydantic_models import is_model
from .quick import PLAIN, are_faithful, is_faithful
from .text import from_text, has_repeated_names, to_lines, to_text
from .types import CACHED_TYPES, field_names, takes_ints, type_info, type_name
from .unknown import Kept, find
from .upgrades import Upgrade, call_upgrade, shows_no_value

__all__ = [
    "MAX_DEPTH",
    "Kept",
    "MismatchError",
    "check_type",
    "check_type_of",
    "decode",
    "decode_all",
    "decode_upgraded",
    "encode",
    "encode_all",
    "encode_plain",
    "find_unknown",
    "from_text",
    "has_repeated_names",
    "read_back",
    "takes_ints",
    "to_text",
    "type_name",
]

K = TypeVar("K")

_ALWAYS_FAITHFUL: Final = frozenset({str, int, bool, type(None)})


class MismatchError(DecodeError):
    """The stored text is JSON, but not of the type that was asked for."""

    place = ""
    """Where and why, as `describe` says it; "" if that is not known, or could contain a value."""


def encode(value: Any) -> bytes:
    """Return the value as JSON text in UTF-8.

    Raises EncodeError, which names the path within the value, if the value would not read back.
    """
    try:
        text = to_text(value)
    except Exception as error:
        raise_if_from_outside(error)
        fidelity.check(value)
        # The value is valid; the caller had nearly used up the stack or the memory.
        if isinstance(error, RecursionError | MemoryError):
            raise
        # "from None" and no str(error): the errors of pydantic and of codecs contain the value.
        raise EncodeError(f"{type_name(type(value))} can't be encoded as JSON.") from None
    if type(value) not in _ALWAYS_FAITHFUL and not is_faithful(value, text):
        fidelity.check(value)
    return text


def encode_plain(value: Any) -> bytes:
    """Return the value as JSON text that reads back as an equal value even without a type.

    Raises EncodeError for any other value, such as a tuple or a datetime.
    """
    text = encode(value)
    if type(value) not in _ALWAYS_FAITHFUL:
        back = from_text(text)
        if not _equals(back, value):
            fidelity.refuse_typed(value, back)
    return text


def encode_all(values: Sequence[Any]) -> tuple[list[bytes], int]:
    """Return the texts of many values, and the size of the longest in bytes.

    Raises EncodeError as `encode` does.
    """
    texts = _encode_together(values)
    if texts is None:
        texts = [encode(value) for value in values]
    return texts, max(map(len, texts), default=0)


def _encode_together(values: Sequence[Any]) -> list[bytes] | None:
    """Return the texts, encoded and checked in one go; None if that can't be done."""
    if set(map(type, values)) <= PLAIN:
        try:
            lines = to_lines(values)
            texts = lines.split(b"\n")
            texts.pop()
            if len(texts) == len(values) and are_faithful(values):
                return texts
        except Exception as error:
            raise_if_from_outside(error)
    return None


def decode(text: str | bytes, as_: Any = None, *, key: object) -> Any:
    """Return the value of a stored text: plain JSON, or strictly validated as the type `as_`.

    Raises DecodeError if the text isn't JSON, MismatchError if it is JSON but not of the type, and
    TypeError if `as_` isn't a type that can be validated. Messages name the entry as str(key).
    """
    read = from_text if as_ is None or as_ is Any else type_info(as_).decode
    try:
        return read(text)
    except msgspec.ValidationError as error:
        # A typed decoder stops at the first mismatch; what follows may not be JSON.
        _raise_unless_json(text, key)
        at = describe(error, as_)
    # "from None" because a UnicodeError contains the text.
    except (msgspec.DecodeError, UnicodeError):
        raise _corrupt_error(key) from None
    except RecursionError as error:
        raise _too_deep_error(key) from error
    # Raised outside the except block, so that msgspec's and pydantic's errors, which contain the
    # value, are not chained to it.
    mismatch = MismatchError(
        f"The value of {str(key)!r} is not of the type {type_name(as_)}{at}; "
        "read it as the type it was stored as, or replace it with set()."
    )
    mismatch.place = at
    raise mismatch


def check_type_of(value: Any, text: bytes, as_: Any, *, key: object) -> None:
    """Raise EncodeError unless `text`, which `encode` made from the value, is of the type `as_`.

    Raises TypeError if `as_` isn't a type that can be validated.
    """
    if not _is_proved_by_encode(value, as_):
        read_back(value, text, as_, key=key)


def read_back(value: Any, text: bytes, as_: Any, *, key: object) -> Any:
    """Return what a text that `encode` made from a value reads back as.

    Raises EncodeError, which names the type and the path, if it isn't of the type `as_`, if a read
    would drop fields that the type doesn't have, or if a number would read back as something else;
    TypeError as `decode` does.
    """
    try:
        back = decode(text, as_, key=key)
    except MismatchError as error:
        raise _wrong_type(as_, key, error.place) from error
    if as_ is None or as_ is Any or _is_proved_by_encode(value, as_):
        return back
    if not _equals(back, value):
        path = fidelity.dropped_path(from_text(text), from_text(to_text(back)))
        path = path or fidelity.changed_path(value, back)
        if path is not None:
            raise _wrong_type(as_, key, f", at {path}")
    return back


def _wrong_type(as_: Any, key: object, place: str) -> EncodeError:
    return EncodeError(
        f"The new value of {str(key)!r} is not of the type {type_name(as_)}{place}. Nothing was "
        "written."
    )


def _is_proved_by_encode(value: Any, as_: Any) -> bool:
    """Return whether `encode` has proved that the value reads back as the type `as_`."""
    cls: Any = type(value)
    return cls is as_ and _is_proved(cls)


@lru_cache(CACHED_TYPES)
def _is_proved(cls: Any) -> bool:
    type_info(cls)
    return (
        cls in (str, int, bool, float)
        or issubclass(cls, Enum)
        or is_model(cls)
        or field_names(cls) is not None
    )


def _equals(back: Any, value: Any) -> bool:
    try:
        return bool(back == value)
    # The class's own == can raise anything.
    except Exception as error:
        raise_if_from_outside(error)
        return False


def decode_upgraded(
    text: str | bytes, as_: Any, upgrade: Upgrade | None, *, key: object
) -> tuple[Any, str | bytes]:
    """Return the value of a stored text, as `decode` does, and the text that it was read from.

    Where the text is not of the type, `upgrade` gets its plain JSON; what it returns is validated
    instead. Raises MismatchError if that isn't of the type either, or if `upgrade` raises.
    """
    try:
        return decode(text, as_, key=key), text
    except MismatchError:
        if upgrade is None:
            raise
    new, error = call_upgrade(upgrade, from_text(text))
    if error is not None:
        # The text of another error could hold the value.
        cause = error if shows_no_value(error) else None
        raise MismatchError(
            f"The value of {str(key)!r} is not of the type {type_name(as_)}, "
            f"and its Key's upgrade raised {type_name(type(error))}."
        ) from cause
    try:
        upgraded = encode(new)
    except EncodeError as unencodable:
        raise MismatchError(
            f"The value of {str(key)!r} is not of the type {type_name(as_)}, "
            "and what its Key's upgrade returned can't be stored."
        ) from unencodable
    try:
        return decode(upgraded, as_, key=key), upgraded
    except MismatchError as mismatch:
        raise MismatchError(f"After its Key's upgrade: {mismatch}") from None


def decode_all(stored: Iterable[tuple[K, str | bytes]], as_: Any = None) -> dict[K, Any] | None:
    """Return the values of many texts by their keys; None if `decode` would raise for any of them.

    Raises TypeError if `as_` isn't a type that can be validated.
    """
    # Not joined and decoded as lines: a corrupt text could be the first half of a value, and the
    # next text the second half.
    read = from_text if as_ is None or as_ is Any else type_info(as_).decode
    try:
        return {key: read(text) for key, text in stored}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def find_unknown(text: str | bytes, value: Any, as_: Any, *, key: object) -> Kept | None:
    """Return the fields of a stored text that `value`, read from it as a type, leaves out.

    None if there are none. Raises DecodeError if what the type leaves out isn't JSON.
    """
    if as_ is None or as_ is Any:
        return None
    try:
        return find(text, value, as_)
    except (msgspec.DecodeError, UnicodeError):
        raise _corrupt_error(key) from None
    except RecursionError as error:
        raise _too_deep_error(key) from error


def check_type(as_: Any) -> None:
    """Raise TypeError, which names the type, if its values can't be validated."""
    if as_ is not None and as_ is not Any:
        type_info(as_)


def _raise_unless_json(text: str | bytes, key: object) -> None:
    try:
        from_text(text)
    # Without a type, msgspec still raises a ValidationError for 1e400.
    except (msgspec.DecodeError, UnicodeError):
        raise _corrupt_error(key) from None
    except RecursionError as error:
        raise _too_deep_error(key) from error


def _corrupt_error(key: object) -> DecodeError:
    return DecodeError(
        f"The entry {str(key)!r} is corrupt: its stored text is not JSON; "
        "set() or remove() repairs it."
    )


def _too_deep_error(key: object) -> DecodeError:
    return DecodeError(
        f"The value of {str(key)!r} is nested too deeply for Python's recursion limit."
    )
