"""The public API: every call of a store, with keys, types and lifetimes, once for all drivers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Generic, Never, Protocol, TypeVar, cast, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from . import codec
from .backoff import attempts
from .drivers.base import COUNTER, LEAST, MOST, Driver, Place, Text
from .exceptions import (
    ContentionError,
    CounterRangeError,
    DecodeError,
    DuplicateKeyError,
    EncodeError,
    MissingKeyError,
    StoreUnavailableError,
)
from .expiry import DEFAULT, KEEP, Default, ExpiresArg, Expiry, Keep, from_micros, now, parse
from .keys import Key, Part
from .keyspace import CHUNK, AnyKey, FullKeys, Keyspace, key_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
D = TypeVar("D")
# A mapping of str and Key together. Not `Mapping[AnyKey, Any]` itself: in that context a type
# checker takes a dict of Keys for one of Key[Any], and sees no wrong value in it.
M = TypeVar("M", bound=Mapping[AnyKey, Any])
N = TypeVarWithDefault("N", default=Never)
N_co = TypeVarWithDefault("N_co", default=Never, covariant=True)

TRIES: Final = 200
"""How often a call that reads, computes and writes tries again after losing to another writer."""

SECONDS: Final = 10.0
"""For how many seconds it does: less than web servers usually let a worker live."""

OTHER_NAMES: Final = {
    "add": "create(), which raises DuplicateKeyError if there is an entry",
    "decr": "incr() with a negative `by`",
    "delete": "remove()",
    "delete_many": "remove_many()",
    "exists": "`key in store`",
    "expire": "touch()",
    "get_or_set": "get_or_create()",
    "has_key": "`key in store`",
    "iter_keys": "keys()",
    "ttl": "get_item(), whose result has a `ttl`",
}
"""What Django's cache and Redis's clients call something that a store has, too."""

logger = logging.getLogger("django_persist")


class Missing(Enum):
    """The type of MISSING: no value, where None would be a value."""

    MISSING = "MISSING"


MISSING: Final = Missing.MISSING
UNUSED: Final[Never] = cast("Never", MISSING)
"""The default of what nobody may pass: `timeout`, and the expiry by its position."""


class Remove(Enum):
    """The type of REMOVE: what a function given to `update` returns to remove the entry."""

    REMOVE = "REMOVE"

    def __repr__(self) -> str:
        return self.value

    @property
    def update_returns(self) -> None:
        """None, for type checkers: see Removal."""


class Removal(Protocol[N_co]):
    """How a type checker sees Remove: `update` returns None if its function may return REMOVE.

    A function that never returns REMOVE leaves `N` at Never, and `T | Never` is `T`. Overloads
    would do the same for annotated functions, but mypy infers Any for a lambda that fits two.
    """

    @property
    def update_returns(self) -> N_co: ...


REMOVE: Final = Remove.REMOVE


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """A value, and when it expires: an aware datetime in UTC, or None for never.

    `version` is a short ASCII str that changes with the value, not with the expiry. It is a digest
    of the stored text, so it is the same on every driver, and may serve as an ETag. `replace` and
    `remove` take it. Two Items are equal if their values and expiries are.
    """

    value: T
    expires_at: datetime | None
    version: str = field(default="", compare=False)

    @property
    def ttl(self) -> timedelta | None:
        """The time left by the application's clock, never negative; None if it never expires."""
        if self.expires_at is None:
            return None
        return max(self.expires_at - from_micros(now()), timedelta(0))


class Store:
    """A key/value store in which each entry has its own expiry, over one driver.

    For every call, an entry that has expired is the same as no entry. Every call is atomic unless
    its documentation says otherwise, and safe to use from several threads. A key is a `str` of 1 to
    255 characters, or a `Key`.

    Any call may raise InvalidKeyError, StoreUnavailableError and, if it lost against other writers,
    ContentionError. Calls that store may also raise EncodeError, ValueTooLargeError and
    InvalidExpiryError, before anything is written.
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
        self.keyspace = Keyspace(driver, prefix=prefix, max_value_bytes=max_value_bytes)
        self._default_expires = parse(default_expires)

    def __repr__(self) -> str:
        prefix = self.keyspace.prefix
        under = f" under {prefix!r}" if prefix else ""
        return f"<{type(self).__name__} over {type(self.driver).__name__}{under}>"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in OTHER_NAMES]

    def namespace(self, name: Part) -> Store:
        """Return this store with its keys under `name:`. Chain calls to nest namespaces.

        The name, a str, int or UUID, is quoted like a part of a Key, so that different names never
        share a key. It counts towards the length of the keys.
        """
        inner = copy(self)
        inner.keyspace = self.keyspace.nested(name)
        return inner

    def place(self) -> Place:
        """Return where this store's entries are, and what stands before their keys there."""
        return self.keyspace.place()

    # One key.

    @overload
    def create(self, key: Key[T], value: T, *, expires: ExpiresArg | Default = DEFAULT) -> None: ...
    @overload
    def create(self, key: str, value: Any, *, expires: ExpiresArg | Default = DEFAULT) -> None: ...
    def create(
        self,
        key: AnyKey,
        value: Any,
        *wrong: Never,
        expires: ExpiresArg | Default = DEFAULT,
        timeout: Never = UNUSED,
    ) -> None:
        """Store a value if there is no live entry (Redis: SET NX).

        Raises DuplicateKeyError, and changes nothing, if there is one.
        """
        if wrong or timeout is not UNUSED:
            raise _takes_expires("create")
        text, expiry = self._encode(key, value), self._expiry(key, expires)
        if not self.driver.create(self.keyspace.full(key), text, expiry):
            raise DuplicateKeyError(key_name(key))

    @overload
    def set(
        self, key: Key[T], value: T, *, expires: ExpiresArg | Default | Keep = DEFAULT
    ) -> None: ...
    @overload
    def set(
        self, key: str, value: Any, *, expires: ExpiresArg | Default | Keep = DEFAULT
    ) -> None: ...
    def set(
        self,
        key: AnyKey,
        value: Any,
        *wrong: Never,
        expires: ExpiresArg | Default | Keep = DEFAULT,
        timeout: Never = UNUSED,
    ) -> None:
        """Store a value, overwriting any entry (Redis: SET).

        `expires=KEEP` leaves a live entry's expiry as it is (Redis: KEEPTTL).
        """
        if wrong or timeout is not UNUSED:
            raise _takes_expires("set")
        text = self.keyspace.encode(value)
        if type(key) is not str:
            self._check_type_of(key, value, text)
        # `_expiry_or_keep` inlined: the call would be a fiftieth of a set in memory.
        expiry = self._expiry(key, DEFAULT if expires is KEEP else expires)
        self.driver.set(self.keyspace.full(key), text, expiry, keep=expires is KEEP)

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
        """Return the value, or `default` if there is none or it isn't of the type `as_`.

        Without `as_`, and without a Key that has a type, the value is plain JSON. The type is
        validated strictly. A value of another type stays in place and is logged as a warning; with
        `strict=True` it raises DecodeError. Text that isn't JSON always raises DecodeError.
        """
        text = self.driver.get(self.keyspace.full(key))
        if as_ is None and type(key) is str:
            # The most common call of all. Skipping the search for a type saves a tenth of it.
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
        """Return the value with its expiry, or None. Types work as they do for `get`."""
        stored = self.driver.get_item(self.keyspace.full(key))
        value = self._decode(key, stored and stored.value, as_, strict=strict)
        if stored is None or value is MISSING:
            return None
        return Item(value, stored.expires_at, _version(stored.value))

    @overload
    def replace(
        self,
        key: Key[T],
        value: T,
        version: str,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> bool: ...
    @overload
    def replace(
        self,
        key: str,
        value: Any,
        version: str,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> bool: ...
    def replace(
        self,
        key: AnyKey,
        value: Any,
        version: str,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> bool:
        """Store a value if the live entry still has that version; return whether it has done so.

        `version` is that of an Item. This writes only over the value that was read, however long
        ago: for forms, and for `If-Match` in an API. Expiry works as for `update`.
        """
        text, expiry = self._encode(key, value), self._expiry_or_keep(key, expires)
        full, keep = self.keyspace.full(key), expires is KEEP
        return any(
            self.driver.replace(full, seen, text, expiry, keep=keep)
            for seen in self._texts_of_version("replace", key, full, version)
        )

    def remove(self, key: AnyKey, *, version: str | None = None) -> bool:
        """Delete the entry; return whether there was a live one (Redis: UNLINK).

        With the `version` of an Item, delete it only if it still has that version.
        """
        full = self.keyspace.full(key)
        if version is None:
            return self.driver.remove(full)
        return any(
            self.driver.remove_if(full, seen)
            for seen in self._texts_of_version("remove", key, full, version)
        )

    def _texts_of_version(self, call: str, key: AnyKey, full: str, version: str) -> Iterator[Text]:
        """Yield the live entry's text as long as it has that version and the caller asks again."""
        if not isinstance(version, str):
            raise TypeError(f"version must be a str, not {type(version).__name__}.")
        for _ in attempts(TRIES, SECONDS):
            # What a write would find, even if the transaction reads from an older snapshot.
            text = self.driver.get(full, for_update=True)
            if text is None or _version(text) != version:
                return
            yield text
        raise _lost(call, key)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a live entry, of whatever type (Redis: EXISTS)."""
        return self.driver.contains(self.keyspace.full(cast("AnyKey", key)))

    def touch(
        self,
        key: AnyKey,
        expires: ExpiresArg | Default = DEFAULT,
        *,
        timeout: Never = UNUSED,
    ) -> bool:
        """Give a live entry a new expiry, counted from now; return whether there was an entry.

        The value is not rewritten (Redis: PEXPIRE, PERSIST).
        """
        if timeout is not UNUSED:
            raise _takes_expires("touch")
        return self.driver.touch(self.keyspace.full(key), self._expiry(key, expires))

    # Read, compute and write, over the driver's compare-and-swap.

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
        """Remove a value and return it. However many callers pop a key, one gets the value.

        The others get `default`. The value is validated as for `get`, and only removed if it is
        still what was read: a value of another type stays in place, and none is destroyed without
        being returned.
        """
        full = self.keyspace.full(key)
        for attempt in attempts(TRIES, SECONDS):
            text = self.driver.get(full, for_update=attempt > 0)
            value = self._decode(key, text, as_, strict=strict)
            if text is None or value is MISSING:
                return default
            if self.driver.remove_if(full, text):
                return value
        raise _lost("pop", key)

    # The first overload is for pyright, which infers a lambda's type before it looks at `as_`.
    @overload
    def update(
        self,
        key: AnyKey,
        fn: Callable[[T], T],
        default: T | Callable[[], T] = ...,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T: ...
    @overload
    def update(
        self,
        key: AnyKey,
        fn: Callable[[T], T | Removal[N]],
        default: T | Callable[[], T] = ...,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T | N: ...
    @overload
    def update(
        self,
        key: Key[T],
        fn: Callable[[T], T | Removal[N]],
        default: T | Callable[[], T] = ...,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T | N: ...
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
        default: Any = MISSING,
        *,
        as_: Any = None,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> Any:
        """Read, change and write a value in one atomic step; return what a later `get` would.

        `fn` gets a fresh copy of the value, which it may change, and returns the new value. If it
        returns REMOVE, the entry is removed and the call returns None. If another writer was
        faster, `fn` runs again on what that writer stored, so it should have no side effects.
        Fields that the type doesn't know, stored by code with other classes, stay in the entry
        wherever the new value still has an object of that class in that place.
        Without a live entry, `fn` starts from `default`, a value or a callable.

        Raises, without writing anything: MissingKeyError if there is no entry and no default;
        DecodeError, before `fn` runs, if the value isn't of the type asked for; DecodeError, once
        `fn` has run, if objects in a list, tuple or set have fields that the type doesn't know;
        TypeError if `fn` returns None for a value that was not None; EncodeError if what it returns
        can't be stored or isn't of the type; ContentionError if it keeps losing against other
        writers.
        """
        full, expiry = self.keyspace.full(key), self._expiry_or_keep(key, expires)
        upgrade = _upgrade(key, as_)
        keep, as_ = expires is KEEP, _wanted_type(key, as_)
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, for_update=attempt > 0)
            if seen is not None:
                if upgrade is None:
                    old, old_text = codec.decode(seen, as_, key=key), seen
                else:
                    old, old_text = codec.decode_upgraded(seen, as_, upgrade, key=key)
                unknown = codec.find_unknown(old_text, old, as_, key=key)
            elif default is not MISSING:
                old, _ = self._as_stored(key, _call_default(default), as_)
                unknown = None
            else:
                raise MissingKeyError(key_name(key))
            was_none = old is None
            new = fn(old)
            if new is REMOVE:
                if seen is None or self.driver.remove_if(full, seen):
                    return None
                continue
            if new is None and not was_none:
                raise TypeError(
                    f"The function given to update({key_name(key)!r}) returned None: "
                    "return the new value, or REMOVE."
                )
            result, text = self._as_stored(key, new, as_)
            if unknown is not None:
                text = unknown.merged(text, result, key=key)
                self.keyspace.check_size(len(text))
                result = codec.decode(text, as_, key=key)
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
        *wrong: Never,
        as_: Any = None,
        expires: ExpiresArg | Default = DEFAULT,
        timeout: Never = UNUSED,
    ) -> tuple[Any, bool]:
        """Return the value and False, or store `default` and return it and True.

        However many callers there are, one creates the entry and the others get what it stored.
        `default` is a value, or a callable that is called only if there is no live entry. Returns
        what a later `get` would. Raises DecodeError if the value isn't of the type asked for.
        """
        if wrong or timeout is not UNUSED:
            raise _takes_expires("get_or_create")
        full, expiry = self.keyspace.full(key), self._expiry(key, expires)
        upgrade, as_ = _upgrade(key, as_), _wanted_type(key, as_)
        text: bytes | None = None
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, for_update=attempt > 0)
            if seen is not None:
                return codec.decode_upgraded(seen, as_, upgrade, key=key)[0], False
            if text is None:
                result, text = self._as_stored(key, _call_default(default), as_)
            if self.driver.create(full, text, expiry):
                return result, True
        raise _lost("get_or_create", key)

    def incr(
        self,
        key: str | Key[int],
        by: int = 1,
        *,
        expires: ExpiresArg | Default = DEFAULT,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """Add `by` to a counter and return the sum. A new counter starts at 0 (Redis: INCRBY).

        The counter is a signed 64-bit integer. `expires` counts only for the call that starts the
        counter. In the database it joins the caller's transaction: a rollback undoes the count.
        The sum is from `at_least` to `at_most`, if these are given, however many callers there are:
        for a quota, a stock or a number of places. Raises DecodeError if the value is not an
        integer, CounterRangeError if the sum would leave 64 bits or the bounds, and EncodeError if
        a Key's type doesn't take every integer within the bounds; the value then stays as it was,
        and no counter is started.
        """
        if type(by) is not int:
            _check_int("by", by)
        full, expiry = self.keyspace.full(key), self._expiry(key, expires)
        if type(key) is not str:
            self._check_counts(key, *_counter_bounds(at_least, at_most))
        if at_least is None and at_most is None:
            if not LEAST <= by <= MOST:
                raise _out_of_range(key)
            total = self.driver.incr(full, by, expiry)
            return total if total is not None else self._incr_again(key, full, by, expiry)
        low, high = _counter_bounds(at_least, at_most)
        if not LEAST <= by <= MOST:
            raise _out_of_range(key)
        total = self.driver.incr(full, by, expiry, at_least=low, at_most=high)
        return total if total is not None else self._incr_again(key, full, by, expiry, low, high)

    def _incr_again(
        self, key: AnyKey, full: str, by: int, expiry: Expiry, low: int = LEAST, high: int = MOST
    ) -> int:
        """Find out why the driver refused to count, and raise that; else count after all."""
        for _ in attempts(TRIES, SECONDS):
            text = self.driver.get(full, for_update=True)
            value: int = 0
            if text is not None:
                value = codec.decode(text, int, key=key)
                if str(value).encode() != (text if isinstance(text, bytes) else text.encode()):
                    raise DecodeError(f"The value of {key_name(key)!r} is not a canonical integer.")
            if value not in COUNTER or not low <= value + by <= high:
                raise _out_of_range(key, low, high)
            if by == 0 and text is not None:
                return value
            # Another writer has changed the entry since, or removed it.
            total = self.driver.incr(full, by, expiry, at_least=low, at_most=high)
            if total is not None:
                return total
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
        """Return the values found, by the keys as they were passed, in their order.

        Keys without an entry, or with a value of another type, are left out. Takes one round trip
        for each 1,000 keys or so, and is not a snapshot across them. Types work as for `get`.
        """
        asked = self.keyspace.full_many(keys)
        stored = self.driver.get_many(asked.full)
        if asked.are_plain:
            # One type for all keys, so decode in one pass. None: at least one value needs a
            # warning or an error of its own.
            values = codec.decode_all(stored, as_)
            if values is not None:
                return asked.in_order(values)
        texts, found = dict(stored), {}
        for key, full in asked.pairs():
            value = self._decode(key, texts.get(full), as_, strict=strict)
            if value is not MISSING:
                found[key] = value
        return found

    @overload
    def set_many(
        self, mapping: Mapping[Key[T], T], *, expires: ExpiresArg | Default | Keep = DEFAULT
    ) -> None: ...
    @overload
    def set_many(
        self, mapping: Mapping[str, Any], *, expires: ExpiresArg | Default | Keep = DEFAULT
    ) -> None: ...
    @overload
    def set_many(self, mapping: M, *, expires: ExpiresArg | Default | Keep = DEFAULT) -> None: ...
    def set_many(
        self,
        mapping: Mapping[Any, Any],
        *wrong: Never,
        expires: ExpiresArg | Default | Keep = DEFAULT,
        timeout: Never = UNUSED,
    ) -> None:
        """Store all values of a mapping of keys, or none of them if that fails.

        On a Redis Cluster this holds for the keys of one slot. Expiry works as for `set`.
        """
        if wrong or timeout is not UNUSED:
            raise _takes_expires("set_many")
        keys = self.keyspace.full_many(mapping)
        texts = self._encode_many(keys, mapping.values())
        writes = list(zip(keys.full, texts, self._expiries(keys, expires), strict=True))
        if not keys.are_plain:
            # "a" and Key("a") have the same full key: the last one wins.
            writes = list(dict(zip(keys.full, writes, strict=True)).values())
        self.driver.set_many(writes, keep=expires is KEEP)

    @overload
    def create_many(
        self, mapping: Mapping[Key[T], T], *, expires: ExpiresArg | Default = DEFAULT
    ) -> list[Key[T]]: ...
    @overload
    def create_many(
        self, mapping: Mapping[str, Any], *, expires: ExpiresArg | Default = DEFAULT
    ) -> list[str]: ...
    @overload
    def create_many(self, mapping: M, *, expires: ExpiresArg | Default = DEFAULT) -> list[Any]: ...
    def create_many(
        self,
        mapping: Mapping[Any, Any],
        *wrong: Never,
        expires: ExpiresArg | Default = DEFAULT,
        timeout: Never = UNUSED,
    ) -> list[Any]:
        """Store those values whose keys have no live entry; return the keys that have one already.

        Each key is created as `create` does it: of any number of callers one creates it, and an
        entry that is there stays as it is. The keys returned are those passed, in their order.
        """
        if wrong or timeout is not UNUSED:
            raise _takes_expires("create_many")
        if expires is not DEFAULT:
            expires_at = parse(expires)
            expires = expires_at
        keys = self.keyspace.full_many(mapping)
        texts = self._encode_many(keys, mapping.values())
        writes = list(zip(keys.full, texts, self._expiries(keys, expires), strict=True))
        if keys.are_plain:
            existing = set(self.driver.create_many(writes))
            return [key for key, full in keys.pairs() if full in existing] if existing else []
        # "a" and Key("a") have the same full key: the first one creates it.
        once = {write[0]: write for write in reversed(writes)}
        existing, found = set(self.driver.create_many(list(once.values()))), []
        for key, full in keys.pairs():
            if full in existing:
                found.append(key)
            existing.add(full)
        return found

    def remove_many(self, keys: Iterable[AnyKey]) -> int:
        """Delete the entries of those keys; return how many were live."""
        return self.driver.remove_many(list(dict.fromkeys(self.keyspace.full_many(keys).full)))

    # The whole store.

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys of this store's live entries that begin with `prefix`.

        Lazily and in bounded memory. Entries that live throughout are listed; entries that come or
        go meanwhile may be. While Redis resizes its tables, a key may be listed twice (SCAN).
        """
        keys = self.driver.keys(self.keyspace.full_prefix(prefix))
        return map(self.keyspace.strip, keys) if self.keyspace.prefix else keys

    def items(self, prefix: str = "") -> Iterator[tuple[str, Item[Any]]]:
        """Iterate over keys and Items, as `keys` does. Raises DecodeError at a corrupt entry."""
        strip = self.keyspace.strip
        return (
            (key, Item(codec.decode(text, key=key), expires_at, _version(text)))
            for full, (text, expires_at) in self.driver.items(self.keyspace.full_prefix(prefix))
            for key in (strip(full),)
        )

    def count(self, prefix: str = "") -> int:
        """Return how many live entries of this store have a key that begins with `prefix`."""
        return self.driver.count(self.keyspace.full_prefix(prefix))

    def clear(self, prefix: str = "") -> int:
        """Delete this store's entries whose keys begin with `prefix`; return how many were live.

        Works in steps of 1,000 keys, each atomic, so that other callers don't wait long. An entry
        that is written meanwhile may stay or go.
        """
        return self._sum(self.keyspace.clear_steps(prefix))

    def purge(self, batch_size: int = CHUNK) -> int:
        """Delete expired entries, wherever the driver keeps them; return how many were deleted.

        Works in batches, so that other callers don't wait long: `batch_size` entries in the first,
        then as many as take 50 milliseconds, up to 20 times `batch_size`. On SQLite and in memory,
        where nobody else can write meanwhile, a batch takes 10 milliseconds and a pause follows.
        Expired entries count as absent without a purge; it gives their space back. Redis and the
        memory driver do that by themselves.
        """
        return self._sum(self.keyspace.purge_steps(batch_size))

    def _sum(self, steps: Iterator[int]) -> int:
        """Return the sum of `steps`, each of which is atomic by itself."""
        done = 0
        try:
            for number in steps:
                done += number
        except StoreUnavailableError as error:
            if done and not self.driver.in_transaction():
                error.maybe_applied = True
            raise
        return done

    # What the calls have in common.

    def _expiry(self, key: AnyKey, expires: ExpiresArg | Default) -> Expiry:
        """Return the expiry of a call: its own, else the Key's, else the store's.

        Raises TypeError for KEEP: the call never finds a live entry whose expiry it could keep, or
        has no use for one.
        """
        if expires is not DEFAULT:
            return parse(expires)
        # Most keys are strings: to ask that first saves a call of isinstance.
        if type(key) is not str and isinstance(key, Key) and key.expires is not DEFAULT:
            return key.expires
        return self._default_expires

    def _expiry_or_keep(self, key: AnyKey, expires: ExpiresArg | Default | Keep) -> Expiry:
        """Return the expiry of a call. With KEEP, return that of an entry it creates."""
        return self._expiry(key, DEFAULT if expires is KEEP else expires)

    def _expiries(
        self, keys: FullKeys[AnyKey], expires: ExpiresArg | Default | Keep
    ) -> Iterable[Expiry]:
        """Return the expiry for each key, as `_expiry_or_keep` does."""
        if expires is not DEFAULT and expires is not KEEP:
            return repeat(parse(expires), len(keys.given))
        if keys.are_plain:
            return repeat(self._default_expires, len(keys.given))
        return [self._expiry_or_keep(key, expires) for key in keys.given]

    def _decode(self, key: AnyKey, text: Text | None, as_: Any, *, strict: bool) -> Any:
        """Return the value; MISSING if there is none or, logged, if it is of another type."""
        upgrade = None
        if as_ is None and isinstance(key, Key):
            as_, upgrade = key.as_, key.upgrade
        if text is None:
            codec.check_type(as_)
            return MISSING
        try:
            if upgrade is None:
                return codec.decode(text, as_, key=key)
            return codec.decode_upgraded(text, as_, upgrade, key=key)[0]
        except codec.MismatchError as error:
            if strict:
                raise
            logger.warning("%s It counts as absent.", error)
            return MISSING

    def _encode(self, key: AnyKey, value: Any) -> bytes:
        """Return the value's text. Raises EncodeError if it isn't of the type of a Key."""
        text = self.keyspace.encode(value)
        if type(key) is not str:
            self._check_type_of(key, value, text)
        return text

    def _encode_many(self, keys: FullKeys[AnyKey], values: Iterable[Any]) -> list[bytes]:
        """Return the texts of many values. Raises as `_encode` does."""
        values = list(values)
        texts = self.keyspace.encode_many(values)
        if not keys.are_plain:
            for key, value, text in zip(keys.given, values, texts, strict=True):
                self._check_type_of(key, value, text)
        return texts

    def _check_type_of(self, key: AnyKey, value: Any, text: bytes) -> None:
        if isinstance(key, Key) and key.as_ is not None:
            codec.check_type_of(value, text, key.as_, key=key)

    def _check_counts(self, key: AnyKey, low: int, high: int) -> None:
        """Raise EncodeError unless every int from `low` to `high` is of the type of a Key."""
        as_ = key.as_ if isinstance(key, Key) else None
        if as_ is not None and as_ is not Any and not codec.takes_ints(as_, low, high):
            raise EncodeError(
                f"incr({key_name(key)!r}) could store an int that is not of the type "
                f"{codec.type_name(as_)}: pass at_least or at_most, or use a Key of int. Nothing "
                "was written."
            )

    def _as_stored(self, key: AnyKey, value: Any, as_: Any) -> tuple[Any, bytes]:
        """Return what a later `get` of a new value would return, and its text."""
        text = self.keyspace.encode(value)
        return codec.read_back(value, text, as_, key=key), text


def _wanted_type(key: AnyKey, as_: Any) -> Any:
    """Return the type asked for: the call's, else the Key's, else any JSON."""
    if as_ is None and isinstance(key, Key):
        as_ = key.as_
    return Any if as_ is None else as_


def _upgrade(key: AnyKey, as_: Any) -> Callable[[Any], Any] | None:
    """Return the Key's upgrade, which makes values of the Key's type: not if the call has one."""
    return key.upgrade if as_ is None and isinstance(key, Key) else None


def _call_default(default: Any) -> Any:
    return default() if callable(default) else default


def _version(text: Text) -> str:
    """Return the version of a stored text: 128 bits in hexadecimal digits."""
    encoded = text if isinstance(text, bytes) else text.encode()
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


class OtherName:
    """What a store doesn't have: an attribute whose absence is explained.

    `Store.__getattr__` would do the same, and make every lookup on a store slower.
    """

    def __init__(self, hint: str) -> None:
        self.hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, store: Store | None, owner: type) -> Never:
        raise AttributeError(f"A store has no {self.name!r}. Use {self.hint}.")


for _name, _hint in OTHER_NAMES.items():
    _other = OtherName(_hint)
    _other.__set_name__(Store, _name)
    setattr(Store, _name, _other)


def _takes_expires(call: str) -> TypeError:
    return TypeError(
        f"Store.{call}() takes the expiry by name: expires=60, expires=timedelta(days=7), or "
        "expires=None for never."
    )


def _lost(call: str, key: AnyKey) -> ContentionError:
    return ContentionError(f"{call}({key_name(key)!r}) kept losing against other writers.")


def _check_int(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}.")


def _counter_bounds(at_least: int | None, at_most: int | None) -> tuple[int, int]:
    """Return the least and the most that a counter may be: 64 bits, if no bound is given."""
    low, high = LEAST, MOST
    if at_least is not None:
        _check_int("at_least", at_least)
        low = max(low, at_least)
    if at_most is not None:
        _check_int("at_most", at_most)
        high = min(high, at_most)
    if low > high:
        raise ValueError(f"No counter of 64 bits can be at least {low} and at most {high}.")
    return low, high


def _out_of_range(key: AnyKey, low: int = LEAST, high: int = MOST) -> CounterRangeError:
    bounds = "the range of 64 bits"
    if low > LEAST or high < MOST:
        least = [f"at least {low}"] if low > LEAST else []
        most = [f"at most {high}"] if high < MOST else []
        bounds = f"its bounds: {' and '.join(least + most)}"
    return CounterRangeError(f"The counter {key_name(key)!r} would leave {bounds}.")
