"""The adapter to Django's cache framework, for drivers that keep entries where a cache does."""

from __future__ import annotations

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache

from ..exceptions import InvalidStoreError
from ..interruptions import raise_if_from_outside
from .base import Driver

VERSION = "persist"
"""Takes the place of a cache's version, so that no entry has the same key as a cached value."""

PROBE_KEYS = ("key", "a:b", "{x}", "Zoë *?[]\\")
"""Keys by which a KEY_FUNCTION is tried out."""


def resolve(alias: str) -> BaseCache:
    """Make a cache for CACHES[alias] that the driver has for itself.

    `caches[alias]` would be one per thread, and shared with the rest of the project.

    Raises InvalidStoreError if there is no such alias, or its backend can't be imported.
    """
    try:
        return caches.create_connection(alias)
    except (KeyError, TypeError) as error:
        raise InvalidStoreError(
            f"CACHES has no alias {alias!r}.",
            hint=f"Use one of {', '.join(map(repr, caches.settings))}, or add it.",
            id="django_persist.E010",
        ) from error
    except InvalidCacheBackendError as error:
        raise InvalidStoreError(
            f"CACHES[{alias!r}] can't be used: {error}",
            hint="Use an alias of CACHES whose BACKEND can be imported.",
            id="django_persist.E010",
        ) from error


class CacheDriver(Driver):
    """Base class of drivers that keep entries where a Django cache keeps its values.

    The driver takes the cache's location and the prefix of its `make_key`. The cache's serializer,
    version and timeouts never touch an entry. This class is not a BACKEND itself.
    """

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache
        self.prefix = _key_prefix(cache)


def _key_prefix(cache: BaseCache) -> str:
    """Return what `make_key` puts before a key.

    Raises InvalidStoreError if it does anything else to a key: then a listing could not tell which
    keys are the store's, nor what they are called.
    """
    try:
        prefix = str(cache.make_key("", version=VERSION))  # type: ignore[arg-type]
        made = [str(cache.make_key(key, version=VERSION)) for key in PROBE_KEYS]  # type: ignore[arg-type]
    except Exception as error:
        raise_if_from_outside(error)
        raise InvalidStoreError(
            f"KEY_FUNCTION fails for the version {VERSION!r}: {error}",
            hint="It must accept any version, as Django's default does.",
            id="django_persist.E012",
        ) from error
    if made != [prefix + key for key in PROBE_KEYS]:
        raise InvalidStoreError(
            "KEY_FUNCTION must only add a prefix to a key.",
            hint="Use Django's default KEY_FUNCTION for this alias.",
            id="django_persist.E012",
        )
    return prefix
