"""Which databases hold entries, and of which store an entry is."""

from __future__ import annotations

from collections.abc import Iterator

from ..conf import DEFAULT_ALIAS
from ..drivers.base import Driver
from ..drivers.database import DatabaseDriver
from ..handler import stores
from ..store import Store


def databases() -> list[str]:
    """Return an alias of DATABASES for each table that a store of PERSIST keeps its entries in.

    That of the default store comes first.
    """
    found: dict[object, str] = {}
    for alias in sorted(stores, key=lambda alias: alias != DEFAULT_ALIAS):
        driver = stores[alias].driver
        if isinstance(driver, DatabaseDriver):
            found.setdefault(driver.place().location, driver.using)
    return list(found.values())


def store_of(key: str, driver: Driver) -> Store | None:
    """Return the store that has the entry of this complete key, where the driver keeps its own.

    None says that every store there puts a PREFIX before its keys, and none of them begins this
    one. Where PERSIST has no store there, keys are taken as they are.
    """
    here = list(_stores(driver))
    return next((store for store in here if key.startswith(store.place().prefix)), None) or (
        None if here else Store(driver)
    )


def prefixes(driver: Driver) -> list[str]:
    """Return the PREFIXes of the stores that keep their entries where the driver does."""
    return [store.place().prefix for store in _stores(driver)]


def _stores(driver: Driver) -> Iterator[Store]:
    location = driver.place().location
    return (stores[alias] for alias in stores if stores[alias].place().location == location)
