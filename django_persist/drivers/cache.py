"""The adapter to Django's cache framework: what the drivers over a cache have in common."""

from __future__ import annotations

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache

from ..exceptions import InvalidStoreError
from .base import Driver

VERSION = "persist"
"""Stands where a cache has its version, so that no entry has the key of something cached."""

PROBES = ("key", "a:b", "{x}", "Zoë *?[]\\")


def resolve(alias: str) -> BaseCache:
    """Return a cache made for CACHES[alias], of the driver's own: `caches` has one for each thread.

    Raises InvalidStoreError where there is no such cache.
    """
    try:
        return caches.create_connection(alias)
    except (KeyError, TypeError) as error:
        raise InvalidStoreError(
            f"CACHES has no {alias!r}.",
            hint=f"Known are {', '.join(map(repr, caches.settings))}.",
            id="django_persist.E010",
        ) from error
    except InvalidCacheBackendError as error:
        raise InvalidStoreError(
            f"CACHES[{alias!r}] can't be used: {error}",
            hint="Name an alias of CACHES whose BACKEND can be imported.",
            id="django_persist.E010",
        ) from error


class CacheDriver(Driver):
    """Base class of drivers that keep entries where a Django cache keeps its own.

    The cache says where, by its location and its `make_key`; its serializer, version and timeouts
    never touch an entry. Not a BACKEND by itself.
    """

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache
        self.prefix = _prefix(cache)


def _prefix(cache: BaseCache) -> str:
    """Return what `make_key` puts before a key, where that is all it does."""
    try:
        prefix = str(cache.make_key("", version=VERSION))  # type: ignore[arg-type]
        made = [str(cache.make_key(probe, version=VERSION)) for probe in PROBES]  # type: ignore[arg-type]
    except Exception as error:
        raise InvalidStoreError(
            f"KEY_FUNCTION fails for the version {VERSION!r}: {error}",
            hint="Let it format any version, as Django's default does.",
            id="django_persist.E012",
        ) from error
    if made != [prefix + probe for probe in PROBES]:
        raise InvalidStoreError(
            "KEY_FUNCTION must put something before a key and leave the key as it is.",
            hint="Use Django's default KEY_FUNCTION for this alias.",
            id="django_persist.E012",
        )
    return prefix
