"""Values to JSON text and back.

What `encode` hands out reads back as what was written: as its own type, or as the same plain JSON.
What would not is refused before anything is written. No message holds a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec

from ..exceptions import DecodeError, EncodeError
from .fidelity import MAX_DEPTH, explain
from .quick import PLAIN, are_faithful, is_faithful
from .text import from_text, place_of, to_lines, to_text, type_info, type_name

__all__ = [
    "MAX_DEPTH",
    "MismatchError",
    "check_type",
    "decode",
    "decode_all",
    "encode",
    "encode_all",
    "type_name",
]

K = TypeVar("K")

_SCALARS: Final = frozenset({str, int, bool, type(None)})


class MismatchError(DecodeError):
    """The stored text is JSON, but not of the type that was asked for."""


def encode(value: Any) -> bytes:
    """Return the value as JSON text in UTF-8.

    Raises EncodeError, which names the path within the value, for what can't be stored faithfully.
    """
    try:
        text = to_text(value)
    except Exception as error:
        explain(value)
        # No fault of the value's: the caller's stack, or the memory, was nearly used up.
        if isinstance(error, RecursionError | MemoryError):
            raise
        # Neither chained nor quoted: the errors of pydantic and of codecs show the value.
        raise EncodeError(f"{type_name(type(value))} can't be encoded as JSON.") from None
    if type(value) not in _SCALARS and not is_faithful(value, text):
        explain(value)
    return text


def encode_all(values: Sequence[Any]) -> tuple[list[bytes], int]:
    """Return the texts of many values, and the size of the longest; raise as `encode` does."""
    texts = _encode_together(values)
    if texts is None:
        texts = [encode(value) for value in values]
    return texts, max(map(len, texts), default=0)


def _encode_together(values: Sequence[Any]) -> list[bytes] | None:
    """Return the texts, at C speed; None where a value has to be looked at by itself."""
    if set(map(type, values)) <= PLAIN:
        with suppress(Exception):
            lines = to_lines(values)
            texts = lines.split(b"\n")
            texts.pop()
            if len(texts) == len(values) and are_faithful(values, lines):
                return texts
    return None


def decode(text: str | bytes, as_: Any = None, *, key: object) -> Any:
    """Return the value of a stored text: plain JSON, or strictly validated as the type `as_`.

    Raises DecodeError where the text isn't JSON at all, MismatchError where it isn't of the type,
    and TypeError where `as_` is no type that can be validated. The messages show `key` as a str.
    """
    read = from_text if as_ is None or as_ is Any else type_info(as_).decode
    try:
        return read(text)
    except msgspec.ValidationError as error:
        # A typed decoder stops at the first misfit: the text may be broken further on.
        _check_text(text, key)
        place = place_of(error)
        at = f", at {place}" if place else ""
    # Not chained: a UnicodeError carries the text.
    except (msgspec.DecodeError, UnicodeError):
        raise _corrupt(key) from None
    except RecursionError as error:
        raise _too_deep(key) from error
    # Raised out here, with nothing chained: msgspec's and pydantic's errors show the value.
    raise MismatchError(
        f"The value of {str(key)!r} is not of the type {type_name(as_)}{at}; "
        "ask for the type that was stored, or store it anew."
    )


def decode_all(stored: Iterable[tuple[K, str | bytes]], as_: Any = None) -> dict[K, Any] | None:
    """Return the values of texts by their keys; None where `decode` would raise for any."""
    # Not as lines: what another wrote may be half a value, and the next text the other half.
    read = from_text if as_ is None or as_ is Any else type_info(as_).decode
    try:
        return {key: read(text) for key, text in stored}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def check_type(as_: Any) -> None:
    """Raise TypeError, naming the type, where its values can't be validated."""
    if as_ is not None and as_ is not Any:
        type_info(as_)


def _check_text(text: str | bytes, key: object) -> None:
    try:
        from_text(text)
    # msgspec calls 1e400 a ValidationError even where no type was asked for.
    except (msgspec.DecodeError, UnicodeError):
        raise _corrupt(key) from None
    except RecursionError as error:
        raise _too_deep(key) from error


def _corrupt(key: object) -> DecodeError:
    return DecodeError(
        f"The entry {str(key)!r} is corrupt: what is stored is not JSON; "
        "set() or remove() mends it."
    )


def _too_deep(key: object) -> DecodeError:
    return DecodeError(f"The value of {str(key)!r} is nested too deep to be read from here.")
