"""From a django-redis alias of CACHES to its servers, without I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.core.exceptions import ImproperlyConfigured
from django_redis.cache import RedisCache  # type: ignore[import-untyped]
from django_redis.client import DefaultClient, ShardClient  # type: ignore[import-untyped]
from redis.connection import parse_url
from redis.exceptions import RedisError

from ...cluster import ClusterConnectionFactory
from ...exceptions import InvalidStoreError
from ..cache import resolve
from .cluster import Cluster
from .node import Node
from .pool import Pool, location, private_pool
from .servers import Servers, Single

UNFIT = (ImproperlyConfigured, ImportError, ValueError, TypeError, RedisError)
"""What django-redis and redis-py raise for settings that they can't use."""


def connect(cache: BaseCache, alias: str) -> Servers:
    """Return the servers behind a cache of our own, each with a pool of our own.

    Raises InvalidStoreError where the cache isn't django-redis's, or has no one server for a key.
    """
    if not isinstance(cache, RedisCache):
        raise _unfit(
            f"CACHES[{alias!r}] is not a django-redis cache.",
            "Its BACKEND must be 'django_redis.cache.RedisCache'.",
        )
    client = cache._client_cls
    if not issubclass(client, DefaultClient) or issubclass(client, ShardClient):
        raise _unfit(
            f"CACHES[{alias!r}] has the CLIENT_CLASS {client.__name__}, which has no single server "
            "behind a key.",
            "Use DefaultClient or SentinelClient; for many servers a Redis Cluster, with the "
            "CONNECTION_FACTORY 'django_persist.cluster.ClusterConnectionFactory'.",
        )
    try:
        return _servers(cache)
    except InvalidStoreError:
        raise
    except UNFIT as error:
        raise _unfit(
            f"CACHES[{alias!r}] can't be used: {error}",
            "Correct its LOCATION or OPTIONS; django-redis's documentation describes them.",
        ) from error


def _servers(cache: Any) -> Servers:
    factory, urls = cache.client.connection_factory, list(cache.client._server)
    if not isinstance(factory, ClusterConnectionFactory):
        node = Node(private_pool(factory, urls[0]))
        if not getattr(node.pool, "is_master", True):
            raise _unfit(
                "The Sentinel URL of the CACHES alias asks for replicas.",
                "Take is_master=0 out of it: a store reads and writes on the primary.",
            )
        return Single(node)
    seeds = [_parsed(url) for url in urls]
    if any("path" in seed or seed.get("db") for seed in seeds):
        raise _unfit(
            "A Redis Cluster is reached by host and port, and has database 0 only.",
            "Correct the LOCATION of the CACHES alias.",
        )

    def make_pool(host: str, port: int) -> Pool:
        return private_pool(factory, _at(urls[0], host, port))

    addresses = [(seed.get("host", "localhost"), seed.get("port", 6379)) for seed in seeds]
    return Cluster(addresses, make_pool, factory.redis_client_cls_kwargs.get("address_remap"))


def _parsed(url: str) -> dict[str, Any]:
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    return options


def _at(url: str, host: str, port: int) -> str:
    """Return a URL that differs in its host and port alone."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{user}{at}{name}:{port}").geturl()


def flushing(locations: frozenset[Hashable], *, but: str) -> Iterator[str]:
    """Yield the aliases of CACHES, but one, whose clear() is a FLUSHDB of one of the databases."""
    for alias in settings.CACHES:
        if alias != but and not locations.isdisjoint(_flushed_by(alias)):
            yield alias


def _flushed_by(alias: str) -> Sequence[Hashable]:
    try:
        cache: Any = resolve(alias)
        if isinstance(cache, DjangoRedisCache):
            urls = cache._servers[:1]  # type: ignore[attr-defined]
            return [location({**cache._options, **_parsed(url)}) for url in urls]  # type: ignore[attr-defined]
        if not isinstance(cache, RedisCache):
            return []
        if issubclass(cache._client_cls, ShardClient):
            urls = cache._server.split(",") if isinstance(cache._server, str) else cache._server
            return [location(_parsed(url)) for url in urls]
        return list(_servers(cache).locations)
    except UNFIT:
        return []  # An alias that can't be used can't be cleared, and is not ours to report.


def _unfit(message: str, hint: str) -> InvalidStoreError:
    return InvalidStoreError(message, hint=hint, id="django_persist.E011")
