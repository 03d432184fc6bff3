"""Find the databases that hold entries, and the store that an entry belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from ..conf import DEFAULT_ALIAS
from ..drivers.base import Driver
from ..drivers.database import DatabaseDriver
from ..handler import stores
from ..store import Store


def databases() -> list[str]:
    """Return a database alias for each table in which a store of PERSIST keeps its entries.

    The one of the default store comes first.
    """
    found: dict[object, str] = {}
    for alias in sorted(stores, key=lambda alias: alias != DEFAULT_ALIAS):
        driver = stores[alias].driver
        if isinstance(driver, DatabaseDriver):
            found.setdefault(driver.place().location, driver.using)
    return list(found.values())


def store_of(key: str, driver: Driver) -> Store | None:
    """Return the store in the driver's place that a full key belongs to.

    None means that each store there has a PREFIX, and that the key begins with none of them. If
    PERSIST has no store there, a store without a PREFIX is returned.
    """
    sharing = list(_stores_in_place_of(driver))
    if not sharing:
        return Store(driver)
    return next((store for store in sharing if key.startswith(store.place().prefix)), None)


def prefixes(driver: Driver) -> list[str]:
    """Return the PREFIX of each store in the driver's place."""
    return [store.place().prefix for store in _stores_in_place_of(driver)]


def _stores_in_place_of(driver: Driver) -> Iterator[Store]:
    location = driver.place().location
    return (stores[alias] for alias in stores if stores[alias].place().location == location)
