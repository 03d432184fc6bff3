"""Aliases of Django's own RedisCache."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient

from ..servers import Single
from .pools import (
    invalid_alias,
    location,
    parse_url,
    single,
    with_fixed_options,
    without_fixed_options,
)

CHOOSES_SERVERS = ("get_client", "_get_connection_pool", "_get_connection_pool_index")
"""The methods of a cache's client that decide which server has a key."""


def servers_of(cache: RedisCache, alias: str) -> Single:
    """Return the primary: the first URL in LOCATION. The others are its replicas."""
    client, urls = _client(cache), _urls(cache)
    if not _uses_the_first(client):
        raise invalid_alias(
            f"CACHES[{alias!r}] has the client {type(client).__name__}, which chooses servers in "
            "a way of its own.",
            "Use Django's RedisCache, or a subclass whose client doesn't override get_client().",
        )
    if not urls:
        raise invalid_alias(f"CACHES[{alias!r}] has an empty LOCATION.", "Name a server there.")
    options = with_fixed_options(client._pool_options)
    return single(client._pool_class.from_url(without_fixed_options(urls[0]), **options))


def flushed_by(cache: RedisCache) -> frozenset[Hashable]:
    """Return the locations that clear() empties."""
    client, urls = _client(cache), _urls(cache)
    flushed = urls[:1] if _uses_the_first(client) else urls
    return frozenset(location({**_options(cache), **parse_url(url)}) for url in flushed)


def _uses_the_first(client: Any) -> bool:
    """Return whether a client writes to the first server, whatever the key."""
    return all(
        getattr(type(client), name, None) is getattr(RedisCacheClient, name)
        for name in CHOOSES_SERVERS
    )


# Private attributes of Django, for which there are no public names. CACHES has not the same: a
# subclass of RedisCache may use other settings, or another client.


def _client(cache: Any) -> Any:
    return cache._cache


def _urls(cache: Any) -> list[str]:
    return list(cache._servers)


def _options(cache: Any) -> dict[str, Any]:
    return dict(cache._options)
