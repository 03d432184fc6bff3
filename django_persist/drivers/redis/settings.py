"""From an alias of CACHES to its servers and the options of their connections, without I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.core.exceptions import ImproperlyConfigured
from django_redis.cache import RedisCache  # type: ignore[import-untyped]
from django_redis.client import DefaultClient, ShardClient  # type: ignore[import-untyped]
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry

from ...cluster import ClusterConnectionFactory
from ...exceptions import InvalidStoreError
from ..cache import resolve
from .cluster import Cluster
from .node import Node, Packer
from .pool import Pool
from .sentinel import Primary
from .servers import Servers, Single

SETTINGS_ERRORS = (ImproperlyConfigured, ImportError, ValueError, TypeError, RedisError)
"""What django-redis and redis-py raise for settings that they can't use."""

FIXED_OPTIONS: dict[str, Any] = {
    # A command that may have taken effect is never sent again.
    "retry": Retry(NoBackoff(), 0),
    "retry_on_timeout": False,
    "retry_on_error": [],
    # Entries are bytes, keys are UTF-8.
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
    # With RESP 3 a server may push messages. Something to read on an idle connection would then no
    # longer mean that it has an unread reply.
    "protocol": 2,
    "command_packer": Packer(),
}
"""Connection options that the driver sets itself, whatever the alias or its URL says."""

DROPPED_OPTIONS = ("cache", "cache_config", "cache_factory", "maint_notifications_config")
"""Pool options that need RESP 3: a client-side cache, and maintenance notifications."""


def servers_of(cache: BaseCache, alias: str) -> Servers:
    """Return the servers behind a cache, with connection pools that nothing else uses.

    The cache must not be shared, as `caches[alias]` is: its connection factory is changed.

    Raises InvalidStoreError if it isn't a django-redis cache, has no single server for a key, or
    has settings that can't be used.
    """
    if not isinstance(cache, RedisCache):
        raise _invalid_alias(
            f"CACHES[{alias!r}] is not a django-redis cache.",
            "Set its BACKEND to 'django_redis.cache.RedisCache'.",
        )
    client_class = _client_class(cache)
    if not issubclass(client_class, DefaultClient) or issubclass(client_class, ShardClient):
        raise _invalid_alias(
            f"CACHES[{alias!r}] has the CLIENT_CLASS {client_class.__name__}, which has no single "
            "server for a key.",
            "Use DefaultClient or SentinelClient. For many servers use a Redis Cluster, with the "
            "CONNECTION_FACTORY 'django_persist.cluster.ClusterConnectionFactory'.",
        )
    try:
        return _servers(cache)
    except InvalidStoreError:
        raise
    except SETTINGS_ERRORS as error:
        raise _invalid_alias(
            f"CACHES[{alias!r}] can't be used: {error}",
            "Correct its LOCATION or OPTIONS. django-redis's documentation describes them.",
        ) from error


def _servers(cache: RedisCache) -> Servers:
    factory, urls = cache.client.connection_factory, _client_urls(cache)
    if isinstance(factory, ClusterConnectionFactory):
        return _cluster(factory, urls)
    return _single(factory, urls[0])  # The first is the primary, the others are its replicas.


def _single(factory: Any, url: str) -> Single:
    redis_pool = _private_pool(factory, url)
    if not getattr(redis_pool, "is_master", True):
        raise _invalid_alias(
            "The Sentinel URL of the CACHES alias asks for replicas.",
            "Remove is_master=0 from it: a store reads and writes on the primary.",
        )
    if not hasattr(redis_pool, "sentinel_manager"):
        return Single(Node(_pool(redis_pool)), _location(redis_pool.connection_kwargs))
    return _behind_sentinel(redis_pool)


def _behind_sentinel(redis_pool: Any) -> Single:
    manager, service = redis_pool.sentinel_manager, redis_pool.service_name
    sentinels = [Node(_pool(client.connection_pool)) for client in manager.sentinels]
    check_connection = redis_pool.check_connection
    primary = Primary(service, manager, sentinels, check_connection=check_connection)
    redis_pool.connection_kwargs["connection_pool"] = primary
    pool = _pool(redis_pool)
    primary.on_change = pool.close_idle
    locations = frozenset(_location(sentinel.pool.connection_kwargs) for sentinel in sentinels)
    db = int(redis_pool.connection_kwargs.get("db") or 0)
    return Single(Node(pool, f"Redis service {service!r}"), (service, locations, db))


def _cluster(factory: ClusterConnectionFactory, urls: list[str]) -> Cluster:
    seeds = [_parse_url(url) for url in urls]
    if any("path" in seed or seed.get("db") for seed in seeds):
        raise _invalid_alias(
            "A Redis Cluster is reached by host and port, and has only the database 0.",
            "Correct the LOCATION of the CACHES alias.",
        )

    def make_pool(host: str, port: int) -> Pool:
        return _pool(_private_pool(factory, _with_address(urls[0], host, port)))

    addresses = [(seed.get("host", "localhost"), seed.get("port", 6379)) for seed in seeds]
    remap = factory.redis_client_cls_kwargs.get("address_remap")
    return Cluster(addresses, make_pool, remap, frozenset(map(_location, seeds)))


# Connection pools.


def _private_pool(factory: Any, url: str) -> Any:
    """Return a redis-py pool for the server at `url`, as the factory makes it for its cache.

    It is only asked for its settings: see `_pool`.
    """
    given = getattr(factory, "pool_cls_kwargs", {})
    factory.pool_cls_kwargs = {
        name: value for name, value in given.items() if name not in DROPPED_OPTIONS
    } | FIXED_OPTIONS
    # Options in the URL would win over those of the factory.
    url, mark, query = url.partition("?")
    url += mark + urlencode(
        [
            (name, value)
            for name, value in parse_qsl(query)
            if name not in FIXED_OPTIONS and name not in DROPPED_OPTIONS
        ]
    )
    redis_pool = factory.get_connection_pool(factory.make_connection_params(url))
    redis_pool.reset()  # A factory of the project's own may have opened connections already.
    return redis_pool


def _pool(redis_pool: Any) -> Pool:
    """Return a pool with the settings of one of redis-py's."""
    options = {
        name: value
        for name, value in redis_pool.connection_kwargs.items()
        if name not in DROPPED_OPTIONS
    } | FIXED_OPTIONS
    wait = redis_pool.timeout if isinstance(redis_pool, BlockingConnectionPool) else 0
    return Pool(
        partial(redis_pool.connection_class, **options),
        options,
        max_connections=redis_pool.max_connections,
        wait=wait,
    )


def _with_address(url: str, host: str, port: int) -> str:
    """Return the URL with another host and port."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{user}{at}{name}:{port}").geturl()


def _parse_url(url: str) -> dict[str, Any]:
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    return options


# Locations: what is equal for two aliases if both are on one Redis database.


def _location(options: Mapping[str, Any]) -> Hashable:
    """Return the location that connections with these options lead to."""
    db = int(options.get("db") or 0)
    if "path" in options:
        return "unix", options["path"], db
    host = str(options.get("host") or "localhost").lower()
    return "127.0.0.1" if host == "localhost" else host, int(options.get("port") or 6379), db


def aliases_that_flush(locations: frozenset[Hashable], *, excluding: str) -> Iterator[str]:
    """Yield the other aliases of CACHES whose clear() is a FLUSHDB of one of the locations."""
    for alias in settings.CACHES:
        if alias != excluding and not locations.isdisjoint(_flushed_by(alias)):
            yield alias


def _flushed_by(alias: str) -> frozenset[Hashable]:
    """Return the locations that an alias's clear() empties."""
    try:
        cache = resolve(alias)
        if isinstance(cache, DjangoRedisCache):
            return frozenset({_location(_django_options(cache))})
        if not isinstance(cache, RedisCache):
            return frozenset()
        if issubclass(_client_class(cache), ShardClient):
            return frozenset(_location(_parse_url(url)) for url in _shard_urls(cache))
        return _servers(cache).locations
    except SETTINGS_ERRORS:
        # An alias that can't be used can't be cleared. To report it is not our business.
        return frozenset()


# Private attributes of django-redis and of Django, for which there are no public names. CACHES has
# not the same: SentinelClient rewrites its URL, and a subclass of a cache may use other settings.


def _client_class(cache: RedisCache) -> type[Any]:
    client_class: type[Any] = cache._client_cls
    return client_class


def _client_urls(cache: RedisCache) -> list[str]:
    return list(cache.client._server)


def _shard_urls(cache: RedisCache) -> list[str]:
    # Not its client's: to make a ShardClient is to make a connection pool for each URL.
    server = cache._server
    return server.split(",") if isinstance(server, str) else list(server)


def _django_options(cache: DjangoRedisCache) -> dict[str, Any]:
    primary, *_replicas = cache._servers  # type: ignore[attr-defined]
    return {**cache._options, **_parse_url(primary)}  # type: ignore[attr-defined]


def _invalid_alias(message: str, hint: str) -> InvalidStoreError:
    return InvalidStoreError(message, hint=hint, id="django_persist.E011")
