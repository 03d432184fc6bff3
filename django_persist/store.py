"""The public API: keys, types, codec and lifetimes, once, over any driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from . import codec
from .arguments import MISSING, AnyKey, key_name
from .atomic import AtomicCalls
from .drivers.base import Place
from .exceptions import DuplicateKeyError, InvalidKeyError, StoreUnavailableError
from .expiry import DEFAULT, KEEP, Default, ExpiresArg, Keep, from_micros, now
from .keys import MAX_LENGTH, SEPARATOR, Key, Part, check, quote

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
D = TypeVar("D")

CHUNK: Final = 1000


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


class Store(AtomicCalls):
    """A key/value store whose every entry has its own expiry, over one driver.

    An entry that has expired is the same as none, for every call. Every call is atomic unless it
    says otherwise, and safe from threads. A key is a `str` of 1 to 255 characters or a `Key`.

    Any call may raise InvalidKeyError, StoreUnavailableError, and, where it lost against other
    writers, ContentionError. Those that store raise EncodeError, ValueTooLargeError and
    InvalidExpiryError before anything is written.
    """

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
        store._room = MAX_LENGTH - len(store._namespace)
        return store

    def place(self) -> Place:
        """Return where this store's entries are, and what stands before their keys there."""
        location, prefix = self.driver.place()
        return Place(location, prefix + self._prefix)

    # One key.

    def create(self, key: AnyKey, value: Any, *, expires: ExpiresArg | Default = DEFAULT) -> None:
        """Store a value where no live entry is (Redis: SET NX).

        Raises DuplicateKeyError, and changes nothing, where there is one.
        """
        text, expiry = self._encode(value), self._expiry(key, expires)
        if not self.driver.create(self._full(key), text, expiry):
            raise DuplicateKeyError(key_name(key))

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
        if as_ is None and type(key) is str:
            # The most common of all calls, by the shortest way: no type is to be looked for.
            return default if text is None else codec.decode(text, key=key)
        value = self._decode(key, text, as_, strict=strict)
        return default if value is MISSING else value

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
        value = self._decode(key, stored and stored.value, as_, strict=strict)
        return None if stored is None or value is MISSING else Item(value, stored.expires_at)

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
    def get_many(
        self, keys: Iterable[AnyKey], *, as_: TypeForm[T], strict: bool = False
    ) -> dict[AnyKey, T]: ...
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
        """Return the values of those keys that have one of the type, by the keys as passed.

        One round trip for each 1,000 keys or so; not a snapshot across them. Types as for `get`.
        """
        asked = self._full_many(keys)
        stored = self.driver.get_many(asked.names)
        if asked.are_plain:
            # All are of one type: nothing is to be looked up for each, unless one doesn't fit.
            values = codec.decode_all(stored, as_)
            if values is not None:
                return asked.in_order(values)
        texts, found = dict(stored), {}
        for key, name in asked.pairs():
            value = self._decode(key, texts.get(name), as_, strict=strict)
            if value is not MISSING:
                found[key] = value
        return found

    def set_many(
        self,
        mapping: Mapping[str, Any] | Mapping[Key[Any], Any] | Mapping[AnyKey, Any],
        *,
        expires: ExpiresArg | Default | Keep = DEFAULT,
    ) -> None:
        """Store all values of a mapping from keys, or, where that fails, none of them.

        On a Redis Cluster that holds for the keys of one slot. Expiry as for `set`.
        """
        keys = self._full_many(mapping)
        texts = self._encode_many(mapping.values())
        writes = list(zip(keys.names, texts, self._expiries(keys, expires), strict=True))
        if not keys.are_plain:
            # Keys that are one once they are complete, as "a" and Key("a"): the last one stands.
            writes = list(dict(zip(keys.names, writes, strict=True)).values())
        self.driver.set_many(writes, keep=expires is KEEP)

    def remove_many(self, keys: Iterable[AnyKey]) -> int:
        """Delete the entries of those keys; return how many were live."""
        return self.driver.remove_many(list(dict.fromkeys(self._full_many(keys).names)))

    # The whole store.

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys of this store's live entries that begin with `prefix`.

        Lazily and in bounded memory. Entries that live all the while are listed; those that come
        or go meanwhile may be. While a Redis resizes its tables a key may be listed twice (SCAN).
        """
        skip = len(self._prefix)
        keys = self.driver.keys(self._full_prefix(prefix))
        return (key[skip:] for key in keys) if skip else keys

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
        return self._in_steps(self._clear_steps(prefix))

    def _clear_steps(self, prefix: str) -> Iterator[int]:
        keys = iter(self.driver.keys(self._full_prefix(prefix)))
        chunks = iter(lambda: list(dict.fromkeys(islice(keys, CHUNK))), [])
        return map(self.driver.remove_many, chunks)

    def purge(self, batch_size: int = CHUNK) -> int:
        """Delete what has expired, wherever the driver keeps it; return how many entries went.

        In batches, each a step of its own, so that other callers are not held up: `batch_size` at
        the beginning, then as many as are deleted within 50 milliseconds, up to 20 times as many;
        on SQLite and in memory, where nobody else can write meanwhile, within 10, and with pauses.
        Expired entries count as absent without it: it gives their room back. Redis and the memory
        driver do that by themselves.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError("batch_size must be a positive int.")
        return self._in_steps(self.driver.purge(batch_size))

    def _in_steps(self, steps: Iterator[int]) -> int:
        """Return the sum of what steps did, each of which stands by itself."""
        done = 0
        try:
            for number in steps:
                done += number
        except StoreUnavailableError as error:
            if done and not self.driver.in_transaction():
                error.maybe_applied = True
            raise
        return done
