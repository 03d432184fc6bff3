"""From a pool of redis-py's, as a cache makes it, to a server with a pool of our own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from redis import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from ....exceptions import InvalidStoreError
from ..node import Node, Packer
from ..pool import Pool
from ..sentinel import Primary
from ..servers import Single

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


def with_fixed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a pool, with those that the driver sets itself."""
    kept = {name: value for name, value in options.items() if name not in DROPPED_OPTIONS}
    return kept | FIXED_OPTIONS


def without_fixed_options(url: str) -> str:
    """Return the URL without the options that the driver sets itself: they would win over them."""
    url, mark, query = url.partition("?")
    return (
        url
        + mark
        + urlencode(
            [
                (name, value)
                for name, value in parse_qsl(query)
                if name not in FIXED_OPTIONS and name not in DROPPED_OPTIONS
            ]
        )
    )


def pool_like(redis_pool: Any) -> Pool:
    """Return a pool with the settings of one of redis-py's.

    Raises TypeError if there is an option that its connections don't take.
    """
    options = with_fixed_options(redis_pool.connection_kwargs)
    make_connection = partial(redis_pool.connection_class, **options)
    make_connection()  # It isn't opened.
    blocks = isinstance(redis_pool, connection.BlockingConnectionPool)
    return Pool(
        make_connection,
        options,
        max_connections=redis_pool.max_connections,
        wait=redis_pool.timeout if blocks else 0,
    )


def single(redis_pool: Any) -> Single:
    """Return the server that a pool of redis-py's leads to, or the one that Sentinel names."""
    if not getattr(redis_pool, "is_master", True):
        raise invalid_alias(
            "The Sentinel URL of the CACHES alias asks for replicas.",
            "Remove is_master=0 from it: a store reads and writes on the primary.",
        )
    if not hasattr(redis_pool, "sentinel_manager"):
        return Single(Node(pool_like(redis_pool)), location(redis_pool.connection_kwargs))
    return _behind_sentinel(redis_pool)


def _behind_sentinel(redis_pool: Any) -> Single:
    manager, service = redis_pool.sentinel_manager, redis_pool.service_name
    sentinels = [Node(pool_like(client.connection_pool)) for client in manager.sentinels]
    check_connection = redis_pool.check_connection
    primary = Primary(service, manager, sentinels, check_connection=check_connection)
    redis_pool.connection_kwargs["connection_pool"] = primary
    pool = pool_like(redis_pool)
    primary.on_change = pool.close_idle
    locations = frozenset(location(sentinel.pool.connection_kwargs) for sentinel in sentinels)
    db = int(redis_pool.connection_kwargs.get("db") or 0)
    return Single(Node(pool, f"Redis service {service!r}"), (service, locations, db))


def parse_url(url: str) -> dict[str, Any]:
    """Return the options of connections to a URL."""
    options: dict[str, Any] = connection.parse_url(url)  # type: ignore[no-untyped-call]
    return options


def location(options: Mapping[str, Any]) -> Hashable:
    """Return what is equal for two aliases if their connections lead to one Redis database."""
    db = int(options.get("db") or 0)
    if "path" in options:
        return "unix", options["path"], db
    host = str(options.get("host") or "localhost").lower()
    return "127.0.0.1" if host == "localhost" else host, int(options.get("port") or 6379), db


def invalid_alias(message: str, hint: str) -> InvalidStoreError:
    """Return the error for an alias of CACHES that a store can't use."""
    return InvalidStoreError(message, hint=hint, id="django_persist.E011")
