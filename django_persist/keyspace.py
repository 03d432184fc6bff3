"""The part of a driver that belongs to one store: its keys there, and the values it may hold.

`Store` is built on it. So is everything that works below the public API: the admin, the commands,
transfers and tracing use `store.keyspace` and the driver, never a store's own attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from . import codec
from .drivers.base import Driver, Place
from .exceptions import InvalidKeyError, ValueTooLargeError
from .keys import MAX_LENGTH, SEPARATOR, Key, Part, are_plain, check, check_characters, quote

AnyKey: TypeAlias = str | Key[Any]
K = TypeVar("K", bound=AnyKey)
V = TypeVar("V")

MAX_VALUE_BYTES: Final = 512 * 1024 * 1024
"""The longest JSON text in bytes that every driver takes: Redis's proto-max-bulk-len."""

CHUNK: Final = 1000
"""How many keys `clear` deletes in one atomic step."""


class FullKeys(NamedTuple, Generic[K]):
    """Keys as the caller passed them and, in the same order, as the driver gets them."""

    given: list[K]
    full: list[str]
    are_plain: bool
    """Whether all are `str`s: then none has a type or a lifetime of its own."""

    def pairs(self) -> Iterable[tuple[K, str]]:
        """Pair each key as passed with its full key."""
        return zip(self.given, self.full, strict=True)

    def in_order(self, found: dict[str, V]) -> dict[K, V]:
        """Return what was found by full keys, by the keys as passed and in their order."""
        if list(found) == self.given:
            # Already in this order, and without a prefix.
            return cast("dict[K, V]", found)
        if len(found) == len(self.given):
            # Usually every key is there. Asking `in` for each would take half as long again.
            return dict(zip(self.given, map(found.__getitem__, self.full), strict=True))
        return {key: found[full] for key, full in self.pairs() if full in found}


class Keyspace:
    """Turns the keys of one store into full keys, and its values into text within its limit.

    A full key is what the driver gets: PREFIX, then the namespaces, then the key.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        prefix: str = "",
        namespace: str = "",
        max_value_bytes: int | None = None,
    ) -> None:
        self.driver = driver
        self.prefix = prefix + namespace
        """What stands before each key in the driver: PREFIX and the namespaces."""
        self.namespace = namespace
        """The namespaces, each with its separator. They count towards the length of a key."""
        self.max_value_bytes = min(max_value_bytes or MAX_VALUE_BYTES, MAX_VALUE_BYTES)
        """The longest JSON text in bytes that this store takes."""
        self._longest = MAX_LENGTH - len(namespace)

    def nested(self, name: Part) -> Keyspace:
        """Return the keyspace of the namespace `name` within this one.

        The name is quoted like a part of a Key. Raises InvalidKeyError if it is empty, or if no
        key would be short enough for it; TypeError if it is not a str, int or UUID.
        """
        quoted = quote(name)
        if not quoted:
            raise InvalidKeyError("A namespace must have a name.")
        return Keyspace(
            self.driver,
            prefix=self.prefix.removesuffix(self.namespace),
            namespace=check(self.namespace + quoted + SEPARATOR),
            max_value_bytes=self.max_value_bytes,
        )

    def place(self) -> Place:
        """Return where the driver keeps the entries, and what stands before their keys there."""
        location, prefix = self.driver.place()
        return Place(location, prefix + self.prefix)

    # Keys.

    def full(self, key: AnyKey) -> str:
        """Return the full key. Raises InvalidKeyError or TypeError for one no driver should get."""
        # Most keys are plain ASCII strings. This is `check` inlined: every call comes through here.
        if type(key) is str and 0 < len(key) <= self._longest and key.isascii() and "\0" not in key:
            return self.prefix + key
        # The name of a Key was checked when the Key was made.
        name = key_name(key) if isinstance(key, Key) else check(key)
        if len(name) > self._longest:
            check(self.namespace + name)
        return self.prefix + name

    def full_many(self, keys: Iterable[K]) -> FullKeys[K]:
        """Return many keys with their full keys. Raises as `full` does, and TypeError for one key.

        Nothing is sent: either all of the keys are valid or the call fails.
        """
        if isinstance(keys, str | Key):
            raise TypeError("keys must be an iterable of keys, not one key.")
        given = list(keys)
        plain = are_plain(given, self._longest)
        if not plain:
            full = [self.full(key) for key in given]
        elif self.prefix:
            prefix = self.prefix
            full = [prefix + key for key in given]  # type: ignore[operator]
        else:
            full = given  # type: ignore[assignment]
        return FullKeys(given, full, plain)

    def full_prefix(self, prefix: str) -> str:
        """Return what the full keys begin with whose keys begin with `prefix`.

        Raises InvalidKeyError if no key can have its characters; TypeError if it is not a str.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"A prefix must be a str, not {type(prefix).__name__}.")
        return self.prefix + check_characters(prefix)

    def strip(self, full: str) -> str:
        """Return the key of a full key of this keyspace."""
        return full[len(self.prefix) :]

    # Values.

    def encode(self, value: Any) -> bytes:
        """Return the value's JSON text in UTF-8. Raises EncodeError and ValueTooLargeError."""
        text = codec.encode(value)
        # `check_size` inlined, as every write comes through here.
        if len(text) > self.max_value_bytes:
            self.check_size(len(text))
        return text

    def encode_many(self, values: Iterable[Any]) -> list[bytes]:
        """Return the JSON texts of many values. Raises as `encode` does."""
        texts, longest = codec.encode_all(list(values))
        self.check_size(longest)
        return texts

    def check_size(self, size: int) -> None:
        """Raise ValueTooLargeError if a text of `size` bytes is too large for this store."""
        if size > self.max_value_bytes:
            raise ValueTooLargeError(
                f"The value takes {size} bytes as JSON; the store takes {self.max_value_bytes}."
            )

    # The whole keyspace.

    def clear_steps(self, prefix: str) -> Iterator[int]:
        """Delete the entries whose keys begin with `prefix`; yield how many each step deleted.

        Each step takes up to CHUNK keys and is atomic by itself.
        """
        keys = iter(self.driver.keys(self.full_prefix(prefix)))
        chunks = iter(lambda: list(dict.fromkeys(islice(keys, CHUNK))), [])
        return map(self.driver.remove_many, chunks)

    def purge_steps(self, batch_size: int) -> Iterator[int]:
        """Delete expired entries wherever the driver keeps them; yield how many each batch deleted.

        Raises ValueError if `batch_size` is not a positive int.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError("batch_size must be a positive int.")
        return self.driver.purge(batch_size)


def key_name(key: AnyKey) -> str:
    """Return the key as a str, without PREFIX and namespaces.

    Raises InvalidKeyError for a Key whose template still needs its parts.
    """
    if isinstance(key, Key):
        if key.fields:
            raise InvalidKeyError(
                f"The key {key.name!r} needs its parts: call it with {', '.join(key.fields)}."
            )
        return key.name
    return key
