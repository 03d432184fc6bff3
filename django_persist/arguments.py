"""How the arguments of a call become what a driver takes, and what it returns becomes a value."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import Enum
from itertools import repeat
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from . import codec
from .drivers.base import Driver, Text
from .exceptions import EncodeError, InvalidKeyError, ValueTooLargeError
from .expiry import DEFAULT, KEEP, Default, ExpiresArg, Expiry, Keep, parse
from .keys import MAX_LENGTH, Key, are_plain, check, check_characters

AnyKey: TypeAlias = str | Key[Any]
K = TypeVar("K", bound=AnyKey)
V = TypeVar("V")

MAX_VALUE_BYTES: Final = 512 * 1024 * 1024
"""The longest JSON text in bytes that every driver takes: Redis's proto-max-bulk-len."""

logger = logging.getLogger("django_persist")


class Missing(Enum):
    """The type of MISSING: no value, where None would be one."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING


class FullKeys(NamedTuple, Generic[K]):
    """Keys as they were passed, and, in the same order, complete."""

    given: list[K]
    names: list[str]
    are_plain: bool
    """Whether none has a type or a lifetime of its own: all are `str`s."""

    def pairs(self) -> Iterable[tuple[K, str]]:
        return zip(self.given, self.names, strict=True)

    def in_order(self, found: dict[str, V]) -> dict[K, V]:
        """Return what was found by complete keys, by the keys as passed and in their order."""
        if list(found) == self.given:
            # In this order already, and with nothing before the keys.
            return cast("dict[K, V]", found)
        if len(found) == len(self.given):
            # Most often all are there: to ask of each takes half as long again.
            return dict(zip(self.given, map(found.__getitem__, self.names), strict=True))
        return {key: found[name] for key, name in self.pairs() if name in found}


class Arguments:
    """A driver with the settings of one store: the keys, lifetimes and sizes that it allows."""

    def __init__(
        self,
        driver: Driver,
        *,
        prefix: str = "",
        default_expires: ExpiresArg = None,
        max_value_bytes: int | None = None,
    ) -> None:
        self.driver = driver
        self._default = parse(default_expires)
        self._limit = min(max_value_bytes or MAX_VALUE_BYTES, MAX_VALUE_BYTES)
        self._prefix = prefix
        self._namespace = ""
        self._room = MAX_LENGTH

    def __repr__(self) -> str:
        where = f" under {self._prefix!r}" if self._prefix else ""
        return f"<{type(self).__name__} over {type(self.driver).__name__}{where}>"

    def _full(self, key: AnyKey) -> str:
        # Most keys are plain, and this is on every call: `check` would say the same of them.
        if type(key) is str and 0 < len(key) <= self._room and key.isascii() and "\0" not in key:
            return self._prefix + key
        name = check(key_name(key))
        if len(name) > self._room:
            check(self._namespace + name)
        return self._prefix + name

    def _full_prefix(self, prefix: str) -> str:
        if not isinstance(prefix, str):
            raise TypeError(f"A prefix must be a str, not {type(prefix).__name__}.")
        return self._prefix + check_characters(prefix)

    def _full_many(self, keys: Iterable[K]) -> FullKeys[K]:
        if isinstance(keys, str | Key):
            raise TypeError("keys must be an iterable of keys, not one key.")
        given = list(keys)
        plain = are_plain(given, self._room)
        if not plain:
            names = [self._full(key) for key in given]
        elif self._prefix:
            prefix = self._prefix
            names = [prefix + key for key in given]  # type: ignore[operator]
        else:
            names = given  # type: ignore[assignment]
        return FullKeys(given, names, plain)

    def _expiry(self, key: AnyKey, expires: ExpiresArg | Default | Keep) -> Expiry:
        if expires is DEFAULT and type(key) is str:
            return self._default
        if expires is not DEFAULT and expires is not KEEP:
            return parse(expires)
        if isinstance(key, Key) and key.expires is not DEFAULT:
            return key.expires
        return self._default

    def _expiries(
        self, keys: FullKeys[AnyKey], expires: ExpiresArg | Default | Keep
    ) -> Iterable[Expiry]:
        if expires is not DEFAULT and expires is not KEEP:
            return repeat(parse(expires), len(keys.given))
        if keys.are_plain:
            return repeat(self._default, len(keys.given))
        return [self._expiry(key, expires) for key in keys.given]

    def _encode(self, value: Any) -> bytes:
        text = codec.encode(value)
        self._check_size(len(text))
        return text

    def _encode_many(self, values: Iterable[Any]) -> list[bytes]:
        texts, longest = codec.encode_all(list(values))
        self._check_size(longest)
        return texts

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise ValueTooLargeError(
                f"The value takes {size} bytes as JSON; the store takes {self._limit}."
            )

    def _decode(self, key: AnyKey, text: Text | None, as_: Any, *, strict: bool) -> Any:
        """Return the value, or MISSING for none, and for one of another type, which is logged."""
        if as_ is None and isinstance(key, Key):
            as_ = key.as_
        if text is None:
            codec.check_type(as_)
            return MISSING
        try:
            return codec.decode(text, as_, key=key)
        except codec.MismatchError as error:
            if strict:
                raise
            logger.warning("%s It counts as absent.", error)
            return MISSING

    def _as_stored(self, key: AnyKey, text: bytes, as_: Any) -> Any:
        """Return what a later `get` would make of a text that is about to be written."""
        try:
            return codec.decode(text, as_, key=key)
        except codec.MismatchError as error:
            raise EncodeError(
                f"The new value of {key_name(key)!r} is not of the type {codec.type_name(as_)}."
            ) from error


def key_name(key: AnyKey) -> str:
    if isinstance(key, Key):
        if key.fields:
            raise InvalidKeyError(
                f"The key {key.name!r} needs its parts: call it with {', '.join(key.fields)}."
            )
        return key.name
    return key


def type_asked(key: AnyKey, as_: Any) -> Any:
    """Return the type asked for: the call's, else the Key's, else any JSON."""
    if as_ is None and isinstance(key, Key):
        as_ = key.as_
    return Any if as_ is None else as_
