"""Backends for CACHES: PersistCache, over a store, and MemoryCache, in the memory of one process.

Both never evict. They are for libraries that keep state and only know the cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.checks import CheckMessage, Error

from . import codec
from .conf import suggest
from .drivers.base import MOST
from .drivers.cache import CacheDriver
from .exceptions import (
    CounterRangeError,
    DecodeError,
    DuplicateKeyError,
    InvalidKeyError,
    InvalidStoreError,
    MissingKeyError,
)
from .handler import stores
from .json_cache import JSONCache
from .keys import MAX_LENGTH, SEPARATOR, check, quote
from .memory_cache import MemoryCache
from .store import Store

__all__ = ["MemoryCache", "PersistCache"]

NAMESPACE: Final = "caches"
SETTINGS: Final = ("KEY_FUNCTION", "KEY_PREFIX", "OPTIONS", "TIMEOUT", "VERSION")

HASHED: Final = "sha256:"
"""Stands before the hash of a key that a store can't hold."""

HASHED_LENGTH: Final = len(HASHED) + 64


class PersistCache(JSONCache):
    """A cache whose entries are in a store: it never evicts, and `incr` is atomic.

    LOCATION is an alias of PERSIST. The entries are in a namespace of that store, one for each
    KEY_PREFIX. Aliases with the same LOCATION and KEY_PREFIX are one cache, whatever their VERSION,
    TIMEOUT and KEY_FUNCTION. `clear()` deletes the entries of this namespace in all versions, and
    nothing else. There are no OPTIONS.

    A value is what plain JSON can hold, and reads back equal: None, a bool, an int, a finite float,
    a str, a list, or a dict with str keys. Anything else, such as a tuple or a datetime, raises
    EncodeError, a ValueError, and nothing is written.

    Timeouts are Django's. The alias's TIMEOUT counts, not the DEFAULT_EXPIRES of the store, and one
    of more than a thousand years lasts a thousand years. `incr`, `decr` and their versions keep an
    entry's timeout. Keys can be of any length and have any characters: a key that the store can't
    hold is stored under its SHA-256. `set_many` is all or nothing where `Store.set_many` is.

    A call raises what the store raises, such as StoreUnavailableError. `incr` raises ValueError if
    there is no entry, and TypeError if its value is not an integer. On a database a call joins the
    caller's transaction: a rollback undoes it, as with Django's DatabaseCache.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        # Checked at the first use: Django's own checks make each cache, and would stop here.
        self._settings = params
        self._location = location
        # Another name than any other KEY_PREFIX has, and no name that another one begins with: the
        # separator, which ends a namespace, is quoted within its name.
        self._namespace = f"{NAMESPACE}.{self.key_prefix}" if self.key_prefix else NAMESPACE
        self._longest = MAX_LENGTH - len(quote(self._namespace) + SEPARATOR)
        self._opened: tuple[Store, Store] | None = None

    @property
    def store(self) -> Store:
        """The namespace with the entries of this cache.

        Raises InvalidStoreError if the alias or PERSIST has an invalid setting.
        """
        opened = self._opened
        # Overridden settings make new stores.
        if opened is None or stores[self._location] is not opened[0]:
            opened = self._opened = self._open()
        return opened[1]

    def _open(self) -> tuple[Store, Store]:
        _check_settings(self._settings)
        if self._longest < HASHED_LENGTH:
            raise _invalid(
                f"KEY_PREFIX takes {len(quote(str(self.key_prefix)))} characters.",
                "Use a short one.",
            )
        if not isinstance(self._location, str) or self._location not in stores:
            # Without the value, which could be a URL with a password.
            raise _invalid(
                "LOCATION is not the alias of a store in PERSIST.", suggest(self._location, stores)
            )
        store = stores[self._location]
        if isinstance(store.driver, CacheDriver) and isinstance(store.driver.cache, PersistCache):
            raise _invalid(
                f"The store {self._location!r} keeps its entries in a PersistCache.",
                "Name a store in LOCATION that keeps its entries elsewhere.",
            )
        try:
            return store, store.namespace(self._namespace)
        except InvalidKeyError as error:
            raise _invalid(f"KEY_PREFIX is invalid: {error}", "Use other characters.") from error

    @classmethod
    def check_alias(cls, alias: str) -> Iterable[CheckMessage]:
        """Return messages about an alias of CACHES with this backend, without I/O."""
        try:
            caches.create_connection(alias).store  # type: ignore[attr-defined]  # noqa: B018
        except InvalidStoreError as error:
            # What is wrong in PERSIST itself is reported by a check of its own.
            if error.id == "django_persist.E016":
                message = f"CACHES[{alias!r}]: {error.message}"
                return [Error(message, hint=error.hint or None, id=error.id)]
        return []

    def _name(self, key: Any, version: int | None) -> str:
        """Return the key in the store: the cache's own, or the hash of one that it can't hold."""
        made = str(self.make_key(key, version=version))
        with suppress(InvalidKeyError):
            # So that no one can meet the entry of another key by passing its hash.
            if not made.startswith(HASHED):
                return check(made, self._longest)
        return HASHED + sha256(made.encode("utf-8", "surrogatepass")).hexdigest()

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[str, Any]:
        """Return the keys as they were passed, by their names in the store."""
        return {self._name(key, version): key for key in keys}

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        codec.encode_plain(value)
        name, lifetime = self._name(key, version), self.lifetime(timeout)
        if lifetime == 0:
            return name not in self.store
        try:
            self.store.create(name, value, expires=lifetime)
        except DuplicateKeyError:
            return False
        return True

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.store.get(self._name(key, version), default)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        codec.encode_plain(value)
        name, lifetime = self._name(key, version), self.lifetime(timeout)
        if lifetime == 0:
            self.store.remove(name)
        else:
            self.store.set(name, value, expires=lifetime)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, lifetime = self._name(key, version), self.lifetime(timeout)
        if lifetime == 0:
            return self.store.remove(name)
        return self.store.touch(name, lifetime)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self.store.remove(self._name(key, version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._name(key, version) in self.store

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._names(keys, version)
        return {names[name]: value for name, value in self.store.get_many(names).items()}

    def set_many(
        self,
        data: dict[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        """Store all values. A key that can't be stored raises an error: the list is empty."""
        for value in data.values():
            codec.encode_plain(value)
        lifetime = self.lifetime(timeout)
        values = {self._name(key, version): value for key, value in data.items()}
        if lifetime == 0:
            self.store.remove_many(values)
        else:
            self.store.set_many(values, expires=lifetime)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self.store.remove_many(self._names(keys, version))

    def clear(self) -> None:
        """Delete the entries of this cache in all versions, and nothing else in the store."""
        self.store.clear()

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a counter and return the sum. No count is lost, and the timeout stays.

        Raises ValueError if there is no entry, and TypeError if it is not an integer.
        """
        name = self._name(key, version)
        try:
            if delta < MOST:
                # A new counter would start at `delta`, below this bound. So this counts only if
                # there is one, above 0: in one step, as nearly every call does.
                with suppress(CounterRangeError):
                    return self.store.incr(name, delta, at_least=delta + 1)
            return self.store.update(name, lambda total: total + delta, as_=int)
        except MissingKeyError as error:
            raise ValueError(f"Key {key!r} not found.") from error
        except DecodeError as error:
            # Not a ValueError, which means that there is no entry.
            raise TypeError(f"The value of {key!r} is not an integer.") from error

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move an entry with its timeout to another version, and return that version.

        A value that another caller sets meanwhile stays where that caller set it. Raises ValueError
        if there is no entry.
        """
        if version is None:
            version = self.version
        old, new = self._name(key, version), self._name(key, version + delta)
        item = self.store.get_item(old)
        if item is None:
            raise ValueError(f"Key {key!r} not found.")
        if new != old:
            self.store.set(new, item.value, expires=item.expires_at)
            self.store.remove(old, version=item.version)
        return version + delta


def _check_settings(params: dict[str, Any]) -> None:
    """Raise InvalidStoreError for settings of the alias that Django would ignore or replace."""
    for name in params:
        if name not in SETTINGS:
            raise _invalid(f"There is an unknown setting {name!r}.", suggest(name, SETTINGS))
    if params.get("OPTIONS"):
        raise _invalid(
            "OPTIONS is not empty.", "Remove it: PersistCache has no options, and never culls."
        )
    timeout = params.get("TIMEOUT")
    try:
        None if timeout is None else int(timeout)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(
            f"TIMEOUT is {timeout!r}.", "Use seconds, or None so that entries never expire."
        ) from error


def _invalid(message: str, hint: str) -> InvalidStoreError:
    return InvalidStoreError(message, hint=hint, id="django_persist.E016")
