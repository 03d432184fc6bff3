"""Aliases of django-redis. Not to be imported where it may not be installed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from urllib.parse import urlsplit

from django_redis.cache import RedisCache  # type: ignore[import-untyped]
from django_redis.client import DefaultClient, ShardClient  # type: ignore[import-untyped]

from ....cluster import ClusterConnectionFactory
from ..cluster import Cluster
from ..pool import Pool
from ..servers import Servers
from .pools import (
    invalid_alias,
    location,
    parse_url,
    pool_like,
    single,
    with_fixed_options,
    without_fixed_options,
)


def servers_of(cache: RedisCache, alias: str) -> Servers:
    """Return the primary, or the Redis Cluster. The cache's connection factory is changed."""
    client_class = _client_class(cache)
    if not issubclass(client_class, DefaultClient) or issubclass(client_class, ShardClient):
        raise invalid_alias(
            f"CACHES[{alias!r}] has the CLIENT_CLASS {client_class.__name__}, which has no single "
            "server for a key.",
            "Use DefaultClient or SentinelClient. For many servers use a Redis Cluster, with the "
            "CONNECTION_FACTORY 'django_persist.cluster.ClusterConnectionFactory'.",
        )
    return _servers(cache)


def flushed_by(cache: RedisCache) -> frozenset[Hashable]:
    """Return the locations that clear() empties."""
    if issubclass(_client_class(cache), ShardClient):
        return frozenset(location(parse_url(url)) for url in _shard_urls(cache))
    return _servers(cache).locations


def _servers(cache: RedisCache) -> Servers:
    factory, urls = cache.client.connection_factory, _client_urls(cache)
    if isinstance(factory, ClusterConnectionFactory):
        return _cluster(factory, urls)
    # The first is the primary, the others are its replicas.
    return single(_redis_pool(factory, urls[0]))


def _cluster(factory: ClusterConnectionFactory, urls: list[str]) -> Cluster:
    seeds = [parse_url(url) for url in urls]
    if any("path" in seed or seed.get("db") for seed in seeds):
        raise invalid_alias(
            "A Redis Cluster is reached by host and port, and has only the database 0.",
            "Correct the LOCATION of the CACHES alias.",
        )

    def make_pool(host: str, port: int) -> Pool:
        return pool_like(_redis_pool(factory, _with_address(urls[0], host, port)))

    addresses = [(seed.get("host", "localhost"), seed.get("port", 6379)) for seed in seeds]
    make_pool(*addresses[0])  # Raises for options that can't be used. Nothing is opened.
    remap = factory.redis_client_cls_kwargs.get("address_remap")
    return Cluster(addresses, make_pool, remap, frozenset(map(location, seeds)))


def _redis_pool(factory: Any, url: str) -> Any:
    """Return a redis-py pool for the server at `url`, as the factory makes it for its cache.

    It is only asked for its settings: see `pool_like`.
    """
    factory.pool_cls_kwargs = with_fixed_options(getattr(factory, "pool_cls_kwargs", {}))
    params = factory.make_connection_params(without_fixed_options(url))
    redis_pool = factory.get_connection_pool(params)
    redis_pool.reset()  # A factory of the project's own may have opened connections already.
    return redis_pool


def _with_address(url: str, host: str, port: int) -> str:
    """Return the URL with another host and port."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{user}{at}{name}:{port}").geturl()


# Private attributes of django-redis, for which there are no public names. CACHES has not the same:
# SentinelClient rewrites its URL, and a subclass of a cache may use other settings.


def _client_class(cache: RedisCache) -> type[Any]:
    client_class: type[Any] = cache._client_cls
    return client_class


def _client_urls(cache: RedisCache) -> list[str]:
    return list(cache.client._server)


def _shard_urls(cache: RedisCache) -> list[str]:
    # Not its client's: to make a ShardClient is to make a connection pool for each URL.
    server = cache._server
    return server.split(",") if isinstance(server, str) else list(server)
