"""The adapter to Django's cache framework, for drivers that keep entries where a cache does."""

from __future__ import annotations

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache, default_key_func

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
            hint="Use an alias of CACHES whose BACKEND can be imported. For django-redis install "
            "django-persist[redis].",
            id="django_persist.E010",
        ) from error


class CacheDriver(Driver):
    """Base class of drivers that keep entries where a Django cache keeps its values.

    The driver takes the cache's location and the prefix of its `make_key`. The cache's serializer,
    version and timeouts never touch an entry. This class is not a BACKEND itself.
    """

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache
        prefix = _key_prefix(cache)
        self._fixed_prefix = prefix if _has_fixed_prefix(cache) else None

    @property
    def prefix(self) -> str:
        """What `make_key` puts before a key now.

        A KEY_FUNCTION of the project's own may look at the current tenant. So each call asks for
        the prefix, once for all its keys.
        """
        if self._fixed_prefix is not None:
            return self._fixed_prefix
        return _make_key(self.cache, "")


def _make_key(cache: BaseCache, key: str) -> str:
    return str(cache.make_key(key, version=VERSION))  # type: ignore[arg-type]


def _has_fixed_prefix(cache: BaseCache) -> bool:
    """Return whether the prefix can't change: then a call needn't ask for it."""
    return (
        cache.key_func is default_key_func
        and type(cache).make_key is BaseCache.make_key
        and type(cache.key_prefix) is str
    )


def _key_prefix(cache: BaseCache) -> str:
    """Return what `make_key` puts before a key.

    Raises InvalidStoreError if it does anything else to a key: then a listing could not tell which
    keys are the store's, nor what they are called.
    """
    try:
        prefix, *made = [_make_key(cache, key) for key in ("", *PROBE_KEYS)]
    except Exception as error:
        raise_if_from_outside(error)
        raise InvalidStoreError(
            f"KEY_FUNCTION fails for the version {VERSION!r}: {error}",
            hint="As Django's default does, it must accept any version and work outside a request.",
            id="django_persist.E012",
        ) from error
    if made != [prefix + key for key in PROBE_KEYS]:
        raise InvalidStoreError(
            "KEY_FUNCTION must only add a prefix to a key.",
            hint="Use Django's default KEY_FUNCTION for this alias.",
            id="django_persist.E012",
        )
    return prefix
