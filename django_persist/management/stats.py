"""What `manage.py persist stats` reports about a store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from ..exceptions import StoreUnavailableError
from ..store import Store


def collect(store: Store) -> tuple[dict[str, Any], StoreUnavailableError | None]:
    """Return the facts about a store by name and, if it can't be reached, the error.

    `entries` are the live entries of the store; `expired` and `bytes` are those of the whole place,
    which other stores may share.
    """
    driver = store.driver
    facts: dict[str, Any] = {
        "driver": f"{type(driver).__module__}.{type(driver).__qualname__}",
        "place": describe_location(store.place().location),
        "prefix": store.keyspace.prefix,
    }
    try:
        facts["entries"] = store.count()
        facts["expired"] = driver.expired()
        facts["bytes"] = driver.size()
    except StoreUnavailableError as error:
        facts["error"] = str(error)
        return facts, error
    return facts, None


def describe_location(location: Hashable) -> str:
    """Return the location of a driver's Place as words, separated by spaces."""

    def words(part: Hashable) -> Iterator[str]:
        if isinstance(part, tuple):
            for each in part:
                yield from words(each)
        elif isinstance(part, frozenset):
            for each in sorted(part, key=str):
                yield from words(each)
        elif part != "":
            yield str(part)

    return " ".join(words(location))
