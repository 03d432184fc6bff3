"""`stores` and `persist`: the stores of a project, one of each for the whole process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import RLock
from typing import Any, cast

from django.core.signals import setting_changed
from django.utils.connection import ConnectionProxy

from .conf import DEFAULT_ALIAS, load, setting, suggest
from .exceptions import InvalidStoreError
from .store import Store


class Stores:
    """The project's stores by their alias in PERSIST, each made once per process.

    PERSIST is read when a store is first used, and again after `override_settings`. Access raises
    InvalidStoreError, an ImproperlyConfigured, if anything in PERSIST is invalid.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        self._lock = RLock()
        setting_changed.connect(self._forget)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def __getitem__(self, alias: str) -> Store:
        try:
            return self._stores[alias]
        except KeyError:
            return self._load(alias)

    def __iter__(self) -> Iterator[str]:
        return iter(setting())

    def __contains__(self, alias: object) -> bool:
        return alias in setting()

    def alias_of(self, store: Store) -> str | None:
        """Return the alias of a store or of its namespaces; None if it is not in PERSIST."""
        known = self._stores.items()
        return next((alias for alias, each in known if each.driver is store.driver), None)

    def _load(self, alias: str) -> Store:
        with self._lock:
            if not self._stores:
                stores, errors = load(setting())
                if errors:
                    raise errors[0]
                self._stores = stores
            if alias not in self._stores:
                raise InvalidStoreError(
                    f"PERSIST has no store {alias!r}.", hint=suggest(alias, self._stores)
                )
            return self._stores[alias]

    def _renew_lock(self) -> None:
        # In a forked child, the thread that holds the lock is not there to release it.
        self._lock = RLock()

    def _forget(self, *, setting: str, **kwargs: Any) -> None:
        if setting in ("PERSIST", "CACHES"):
            with self._lock:
                forgotten, self._stores = self._stores, {}
            for store in forgotten.values():
                store.driver.close()


class DefaultStore(ConnectionProxy):  # type: ignore[type-arg]
    """Looks like the store "default", whichever that is at the moment, also in a shell."""

    def __repr__(self) -> str:
        return repr(stores[DEFAULT_ALIAS])

    def __dir__(self) -> list[str]:
        return dir(stores[DEFAULT_ALIAS])


stores: Stores = Stores()
persist: Store = cast("Store", DefaultStore(stores, DEFAULT_ALIAS))  # type: ignore[arg-type]
