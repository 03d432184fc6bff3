"""The public API: keys, types, codec and lifetimes, once, over any driver."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast, overload

from . import codec
from .backoff import attempts
from .drivers.base import Driver, Place, Text, Write
from .exceptions import (
    ContentionError,
    CounterRangeError,
    DecodeError,
    DuplicateKeyError,
    EncodeError,
    InvalidKeyError,
    MissingKeyError,
    ValueTooLargeError,
)
from .expiry import (
    DEFAULT,
    KEEP,
    Default,
    ExpiresArg,
    Expiry,
    Keep,
    from_micros,
    now,
    parse,
)
from .keys import MAX_LENGTH, SEPARATOR, Key, Part, check, check_characters, quote

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
D = TypeVar("D")
AnyKey: TypeAlias = str | Key[Any]

COUNTER_MIN: Final = -(2**63)
COUNTER_MAX: Final = 2**63 - 1
MAX_VALUE_BYTES: Final = 512 * 1024 * 1024
"""The longest JSON text in bytes that every driver takes: Redis's proto-max-bulk-len."""

CHUNK: Final = 1000
TRIES: Final = 200
SECONDS: Final = 30.0

logger = logging.getLogger("django_persist")


class Remove(Enum):
    """The type of REMOVE: what the function given to `update` returns to have the entry removed."""

    REMOVE = "REMOVE"

    def __repr__(self) -> str:
        return self.value


class _Missing(Enum):
    MISSING = "MISSING"


REMOVE: Final = Remove.REMOVE
_MISSING: Final = _Missing.MISSING


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """A value with the moment at which it ends: an aware datetime in UTC, or None for never."""

    value: T
    expires_at: datetime | None

    @property
    def ttl(self) -> timedelta | None:
        """The time left by the application's clock, never negative, or None for ever."""
        if self.expires_at is None:
            return None
        return max(self.expires_at - from_micros(now()), timedelta(0))


class Store:
    """A key/value store whose every entry has its own expiry, over one driver.

    An entry that has expired is the same as none, for every call. Every call is atomic unless it
    says otherwise, and safe from threads. A key is a `str` of 1 to 255 characters or a `Key`.

    Any call may raise InvalidKeyError, StoreUnavailableError, and, where it lost against other
    writers, ContentionError. Those that store raise EncodeError, ValueTooLargeError and
    InvalidExpiryError before anything is written.
    """

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

    def __repr__(self) -> str:
        where = f" under {self._prefix!r}" if self._prefix else ""
        return f"<{type(self).__name__} over {type(self.driver).__name__}{where}>"

    def namespace(self, name: Part) -> Store:
        """Return this store with its keys under `name:`; chain to nest.

        The name, a str, int or UUID, is quoted like a part of a Key, so that different names never
        share a key. It counts towards the length of the keys.
        """
        quoted = quote(name)
        if not quoted:
            raise InvalidKeyError("A namespace must have a name.")
        store = object.__new__(type(self))
        store.__dict__.update(self.__dict__)
        store._namespace = check(self._namespace + quoted + SEPARATOR)
        store._prefix = self._prefix + quoted + SEPARATOR
        return store

    def place(self) -> Place:
        """Return where this store's entries are, and what stands before their keys there."""
        home, prefix = self.driver.place()
        return Place(home, prefix + self._prefix)

    # One key.

    def create(self, key: AnyKey, value: Any, *, expires: ExpiresArg | Default = DEFAULT) -> None:
        """Store a value where no live entry is (Redis: SET NX).

        Raises DuplicateKeyError, and changes nothing, where there is one.
        """
        text, expiry = self._encode(value), self._expiry(key, expires)
        if not self.driver.create(self._full(key), text, expiry):
            raise DuplicateKeyError(_name(key))

    def set(
        self, key: AnyKey, value: Any, *, expires: ExpiresArg | Default | Keep = DEFAULT
    ) -> None:
        """Store a value over whatever was there (Redis: SET).

        `expires=KEEP` leaves a live entry's expiry as it is (Redis: KEEPTTL).
        """
        text, expiry = self._encode(value), self._expiry(key, expires)
        self.driver.set(self._full(key), text, expiry, keep=expires is KEEP)

    @overload
    def get(
        self, key: AnyKey, default: None = None, *, as_: TypeForm[T], strict: bool = False
    ) -> T | None: ...
    @overload
    def get(self, key: AnyKey, default: D, *, as_: TypeForm[T], strict: bool = False) -> T | D: ...
    @overload
    def get(self, key: Key[T], default: None = None, *, strict: bool = False) -> T | None: ...
    @overload
    def get(self, key: Key[T], default: D, *, strict: bool = False) -> T | D: ...
    @overload
    def get(self, key: str, default: Any = None, *, strict: bool = False) -> Any: ...
    def get(
        self, key: AnyKey, default: Any = None, *, as_: Any = None, strict: bool = False
    ) -> Any:
        """Return the value, or `default` where there is none or it isn't of the type `as_`.

        Without `as_`, and without a Key that has one, the value is its plain JSON. The type is
        validated strictly. A value of another type stays in place and is logged as a warning; with
        `strict` it raises DecodeError, as an entry does whose stored text isn't JSON.
        """
        text = self.driver.get(self._full(key))
        if text is None:
            return default
        value = self._decode(key, text, as_, strict=strict)
        return default if value is _MISSING else value

    @overload
    def get_item(
        self, key: AnyKey, *, as_: TypeForm[T], strict: bool = False
    ) -> Item[T] | None: ...
    @overload
    def get_item(self, key: Key[T], *, strict: bool = False) -> Item[T] | None: ...
    @overload
    def get_item(self, key: str, *, strict: bool = False) -> Item[Any] | None: ...
    def get_item(self, key: AnyKey, *, as_: Any = None, strict: bool = False) -> Item[Any] | None:
        """Return the value with the moment at which it ends, or None; types as for `get`."""
        stored = self.driver.get_item(self._full(key))
        if stored is None:
            return None
        value = self._decode(key, stored.value, as_, strict=strict)
        return None if value is _MISSING else Item(value, stored.expires_at)

    def remove(self, key: AnyKey) -> bool:
        """Delete the entry; return whether there was a live one (Redis: UNLINK)."""
        return self.driver.remove(self._full(key))

    def __contains__(self, key: object) -> bool:
        """Return whether there is a live entry, of whatever type (Redis: EXISTS)."""
        return self.driver.contains(self._full(cast("AnyKey", key)))

    def touch(self, key: AnyKey, expires: ExpiresArg | Default = DEFAULT) -> bool:
        """Give a live entry a new expiry, counted from now; return whether there was one.

        The value is not rewritten. (Redis: PEXPIRE, PERSIST)
        """
        return self.driver.touch(self._full(key), self._expiry(key, expires))

    @overload
    def pop(
        self, key: AnyKey, default: None = None, *, as_: TypeForm[T], strict: bool = False
    ) -> T | None: ...
    @overload
    def pop(self, key: AnyKey, default: D, *, as_: TypeForm[T], strict: bool = False) -> T | D: ...
    @overload
    def pop(self, key: Key[T], default: None = None, *, strict: bool = False) -> T | None: ...
    @overload
    def pop(self, key: Key[T], default: D, *, strict: bool = False) -> T | D: ...
    @overload
    def pop(self, key: str, default: Any = None, *, strict: bool = False) -> Any: ...
    def pop(
        self, key: AnyKey, default: Any = None, *, as_: Any = None, strict: bool = False
    ) -> Any:
        """Take a value out: of any number of callers, one gets it; the others get `default`.

        The value is read, validated as for `get`, and removed if it is still what was read. So it
        is never destroyed without being handed back: one of another type stays in place.
        """
        full = self._full(key)
        for attempt in attempts(TRIES, SECONDS):
            text = self.driver.get(full, latest=attempt > 0)
            if text is None:
                return default
            value = self._decode(key, text, as_, strict=strict)
            if value is _MISSING:
                return default
            if self.driver.remove_if(full, text):
                return value
        raise _lost("pop", key)

    # Read, compute, write.

    @overload
    def update(
        self,
        key: AnyKey,
        fn: Callable[[T], T | Remove],
        default: T | Callable[[], T] = ...,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T: ...
    @overload
    def update(
        self,
        key: Key[T],
        fn: Callable[[T], T | Remove],
        default: T | Callable[[], T] = ...,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T: ...
    @overload
    def update(
        self,
        key: str,
        fn: Callable[[Any], Any],
        default: Any = ...,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> Any: ...
    def update(
        self,
        key: AnyKey,
        fn: Callable[[Any], Any],
        default: Any = _MISSING,
        *,
        as_: Any = None,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> Any:
        """Read, change and write a value as one atomic step; return what a later `get` would.

        `fn` gets a fresh copy of the value, of its own to change, and returns the new one, or
        REMOVE to have the entry removed; then the call returns None. Where another writer was
        faster it runs again on what that one wrote, so it should do nothing else. `default`, a
        value or a callable, is what `fn` starts from where there is no live entry.

        Raises MissingKeyError where there is neither entry nor default; DecodeError, before `fn`
        runs, where the value isn't of the type asked for; TypeError where `fn` returns None for a
        value that was not None; EncodeError where what it returns can't be stored, or isn't of the
        type; ContentionError where it keeps losing. In all these cases nothing is written.
        """
        full, keep = self._full(key), expires is KEEP
        expiry = self._expiry(key, expires)
        as_ = _type(key, as_)
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, latest=attempt > 0)
            if seen is not None:
                old = codec.decode(seen, as_, key=_name(key))
            elif default is not _MISSING:
                old = self._as_stored(key, self._encode(_made(default)), as_)
            else:
                raise MissingKeyError(_name(key))
            was_none = old is None
            new = fn(old)
            if new is REMOVE:
                if seen is None or self.driver.remove_if(full, seen):
                    return None
                continue
            if new is None and not was_none:
                raise TypeError(
                    f"The function given to update({_name(key)!r}) returned None: "
                    "let it return the new value, or REMOVE."
                )
            text = self._encode(new)
            result = self._as_stored(key, text, as_)
            if seen is None:
                done = self.driver.create(full, text, expiry)
            else:
                done = self.driver.replace(full, seen, text, expiry, keep=keep)
            if done:
                return result
        raise _lost("update", key)

    @overload
    def get_or_create(
        self,
        key: AnyKey,
        default: T | Callable[[], T],
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[T, bool]: ...
    @overload
    def get_or_create(
        self,
        key: Key[T],
        default: T | Callable[[], T],
        *,
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[T, bool]: ...
    @overload
    def get_or_create(
        self, key: str, default: Any, *, expires: ExpiresArg | Default = DEFAULT
    ) -> tuple[Any, bool]: ...
    def get_or_create(
        self,
        key: AnyKey,
        default: Any,
        *,
        as_: Any = None,
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[Any, bool]:
        """Return the value and False, or store `default` and return it and True.

        Of any number of callers one creates; the others get what it stored. `default` is a value
        or a callable, called where there is no live entry; what comes back is what a later `get`
        would return. Raises DecodeError where the value there isn't of the type asked for.
        """
        full, expiry = self._full(key), self._expiry(key, expires)
        as_ = _type(key, as_)
        text: bytes | None = None
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, latest=attempt > 0)
            if seen is not None:
                return codec.decode(seen, as_, key=_name(key)), False
            if text is None:
                text = self._encode(_made(default))
                result = self._as_stored(key, text, as_)
            if self.driver.create(full, text, expiry):
                return result, True
        raise _lost("get_or_create", key)

    def incr(self, key: AnyKey, by: int = 1, *, expires: ExpiresArg | Default = DEFAULT) -> int:
        """Add to an integer and return the sum, atomically; start at 0 (Redis: INCRBY).

        The counter is a signed integer of 64 bits. `expires` counts only for the call that starts
        the counter. Raises DecodeError where the value is no integer, and CounterRangeError where
        the sum would leave the range; the value is then as it was.
        """
        if isinstance(by, bool) or not isinstance(by, int):
            raise TypeError(f"by must be an int, not {type(by).__name__}.")
        full, expiry = self._full(key), self._expiry(key, expires)
        if not COUNTER_MIN <= by <= COUNTER_MAX:
            raise _out_of_range(key)
        for _ in attempts(TRIES, SECONDS):
            total = self.driver.incr(full, by, expiry)
            if total is not None:
                return total
            # Refused: the entry says why, unless another writer has changed it meanwhile.
            text = self.driver.get(full, latest=True)
            if text is None:
                continue
            value = codec.decode(text, int, key=_name(key))
            if str(value).encode() != (text if isinstance(text, bytes) else text.encode()):
                raise DecodeError(f"The value of {_name(key)!r} is not a canonical integer.")
            if not (
                COUNTER_MIN <= value <= COUNTER_MAX and COUNTER_MIN <= value + by <= COUNTER_MAX
            ):
                raise _out_of_range(key)
            if by == 0:
                return value
        raise _lost("incr", key)

    # Many keys.

    @overload
    def get_many(
        self, keys: Iterable[str], *, as_: TypeForm[T], strict: bool = False
    ) -> dict[str, T]: ...
    @overload
    def get_many(
        self, keys: Iterable[Key[Any]], *, as_: TypeForm[T], strict: bool = False
    ) -> dict[Key[Any], T]: ...
    @overload
    def get_many(self, keys: Iterable[Key[T]], *, strict: bool = False) -> dict[Key[T], T]: ...
    @overload
    def get_many(self, keys: Iterable[str], *, strict: bool = False) -> dict[str, Any]: ...
    @overload
    def get_many(
        self, keys: Iterable[AnyKey], *, as_: Any = None, strict: bool = False
    ) -> dict[AnyKey, Any]: ...
    def get_many(
        self, keys: Iterable[Any], *, as_: Any = None, strict: bool = False
    ) -> dict[Any, Any]:
        """Return the values of those keys that have one of the type asked for, by the keys as passed.

        One round trip for each 1,000 keys or so; not a snapshot across them. Types as for `get`.
        """
        full = {key: self._full(key) for key in keys}
        texts = self.driver.get_many(list(dict.fromkeys(full.values())))
        values = {
            key: self._decode(key, texts[name], as_, strict=strict)
            for key, name in full.items()
            if name in texts
        }
        return {key: value for key, value in values.items() if value is not _MISSING}

    def set_many(
        self,
        mapping: Mapping[str, Any] | Mapping[Key[Any], Any] | Mapping[AnyKey, Any],
        *,
        expires: ExpiresArg | Default | Keep = DEFAULT,
    ) -> None:
        """Store all values of a mapping from keys, or, where that fails, none of them.

        On a Redis Cluster that holds for the keys of one slot. Expiry as for `set`.
        """
        writes = {
            (full := self._full(key)): Write(full, self._encode(value), self._expiry(key, expires))
            for key, value in mapping.items()
        }
        self.driver.set_many(list(writes.values()), keep=expires is KEEP)

    def remove_many(self, keys: Iterable[AnyKey]) -> int:
        """Delete the entries of those keys; return how many were live."""
        return self.driver.remove_many(list(dict.fromkeys(map(self._full, keys))))

    # The whole store.

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys of this store's live entries that begin with `prefix`.

        Lazily and in bounded memory. Entries that live all the while are listed; those that come
        or go meanwhile may be. While a Redis resizes its tables a key may be listed twice (SCAN).
        """
        skip = len(self._prefix)
        return (key[skip:] for key in self.driver.keys(self._full_prefix(prefix)))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Item[Any]]]:
        """Iterate over keys and Items, as `keys` does. Raises DecodeError at a corrupt entry."""
        skip = len(self._prefix)
        return (
            (key, Item(codec.decode(stored.value, key=key), stored.expires_at))
            for full, stored in self.driver.items(self._full_prefix(prefix))
            for key in (full[skip:],)
        )

    def count(self, prefix: str = "") -> int:
        """Return how many live entries of this store have a key that begins with `prefix`."""
        return self.driver.count(self._full_prefix(prefix))

    def clear(self, prefix: str = "") -> int:
        """Delete this store's entries whose keys begin with `prefix`; return how many were live.

        In steps of 1,000 keys, each atomic, so that other callers are not held up; an entry that
        is written meanwhile may stay or go.
        """
        keys = iter(self.driver.keys(self._full_prefix(prefix)))
        removed = 0
        while chunk := list(dict.fromkeys(islice(keys, CHUNK))):
            removed += self.driver.remove_many(chunk)
        return removed

    def purge(self, batch_size: int = CHUNK) -> int:
        """Delete what has expired, wherever the driver keeps it; return how many entries went.

        At most `batch_size` of them at a time, so that other callers are not held up. Expired
        entries count as absent without it: it gives their room back. Redis and the memory driver
        do that by themselves.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError("batch_size must be a positive int.")
        return sum(self.driver.purge(batch_size))

    # How arguments become what a driver takes.

    def _full(self, key: AnyKey) -> str:
        name = check(_name(key))
        if self._namespace and len(name) + len(self._namespace) > MAX_LENGTH:
            check(self._namespace + name)
        return self._prefix + name

    def _full_prefix(self, prefix: str) -> str:
        if not isinstance(prefix, str):
            raise TypeError(f"A prefix must be a str, not {type(prefix).__name__}.")
        return self._prefix + check_characters(prefix)

    def _expiry(self, key: AnyKey, expires: ExpiresArg | Default | Keep) -> Expiry:
        if not isinstance(expires, Default | Keep):
            return parse(expires)
        if isinstance(key, Key) and not isinstance(key.expires, Default):
            return key.expires
        return self._default

    def _encode(self, value: Any) -> bytes:
        text = codec.encode(value)
        if len(text) > self._limit:
            raise ValueTooLargeError(
                f"The value takes {len(text)} bytes as JSON; the store takes {self._limit}."
            )
        return text

    def _decode(self, key: AnyKey, text: Text, as_: Any, *, strict: bool) -> Any:
        """Return the value, or _MISSING for one of another type, which is logged."""
        try:
            return codec.decode(text, _type(key, as_), key=_name(key))
        except codec.MismatchError as error:
            if strict:
                raise
            logger.warning("%s It counts as absent.", error)
            return _MISSING

    def _as_stored(self, key: AnyKey, text: bytes, as_: Any) -> Any:
        """Return what a later `get` would make of a text that is about to be written."""
        try:
            return codec.decode(text, as_, key=_name(key))
        except codec.MismatchError as error:
            raise EncodeError(
                f"The new value of {_name(key)!r} is not of the type {codec.type_name(as_)}."
            ) from error


def _name(key: AnyKey) -> str:
    if isinstance(key, Key):
        if key.fields:
            raise InvalidKeyError(
                f"The key {key.name!r} needs its parts: call it with {', '.join(key.fields)}."
            )
        return key.name
    return key


def _type(key: AnyKey, as_: Any) -> Any:
    """Return the type asked for: the call's, else the Key's, else any JSON."""
    if as_ is None and isinstance(key, Key):
        as_ = key.as_
    return Any if as_ is None else as_


def _made(default: Any) -> Any:
    return default() if callable(default) else default


def _lost(call: str, key: AnyKey) -> ContentionError:
    return ContentionError(f"{call}({_name(key)!r}) kept losing against other writers.")


def _out_of_range(key: AnyKey) -> CounterRangeError:
    return CounterRangeError(f"The counter {_name(key)!r} would leave the range of 64 bits.")
