"""From an alias of CACHES to its servers and the options of their connections, without I/O.

The alias is one of Django's own RedisCache (django.py) or of django-redis (django_redis.py).
django-redis need not be installed: its module is loaded only for an alias that already uses it.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from types import ModuleType

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import RedisError

from ....exceptions import InvalidStoreError
from ...cache import resolve
from ..servers import Servers
from .pools import invalid_alias

SETTINGS_ERRORS = (ImproperlyConfigured, ImportError, ValueError, TypeError, RedisError)
"""What Django, django-redis and redis-py raise for settings that they can't use."""


def servers_of(cache: BaseCache, alias: str) -> Servers:
    """Return the servers behind a cache, with connection pools that nothing else uses.

    The cache must not be shared, as `caches[alias]` is: its connection factory is changed.

    Raises InvalidStoreError if it is another kind of cache, has no single server for a key, or has
    settings that can't be used.
    """
    backend = _backend_of(cache)
    if backend is None:
        raise invalid_alias(
            f"CACHES[{alias!r}] is neither Django's RedisCache nor a django-redis cache.",
            "Set its BACKEND to 'django.core.cache.backends.redis.RedisCache' or "
            "'django_redis.cache.RedisCache'.",
        )
    try:
        servers: Servers = backend.servers_of(cache, alias)
    except InvalidStoreError:
        raise
    except SETTINGS_ERRORS as error:
        raise invalid_alias(
            f"CACHES[{alias!r}] can't be used: {error}",
            "Correct its LOCATION or OPTIONS. The documentation of its BACKEND describes them.",
        ) from error
    return servers


def aliases_that_flush(locations: frozenset[Hashable], *, excluding: str) -> Iterator[str]:
    """Yield the other aliases of CACHES whose clear() is a FLUSHDB of one of the locations."""
    for alias in settings.CACHES:
        if alias != excluding and not locations.isdisjoint(_flushed_by(alias)):
            yield alias


def _flushed_by(alias: str) -> frozenset[Hashable]:
    """Return the locations that an alias's clear() empties."""
    try:
        cache = resolve(alias)
        backend = _backend_of(cache)
        locations: frozenset[Hashable] = backend.flushed_by(cache) if backend else frozenset()
    except SETTINGS_ERRORS:
        # An alias that can't be used can't be cleared. To report it is not our business.
        return frozenset()
    return locations


def _backend_of(cache: BaseCache) -> ModuleType | None:
    """Return the module for this kind of cache, or None if there is none."""
    if isinstance(cache, RedisCache):
        from . import django

        return django
    loaded = sys.modules.get("django_redis.cache")
    if loaded is not None and isinstance(cache, loaded.RedisCache):
        from . import django_redis

        return django_redis
    return None
