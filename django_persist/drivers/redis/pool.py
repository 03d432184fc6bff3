"""Connections to a server as its alias says, in a pool of our own, and what tells servers apart."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry

OURS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_timeout": False,
    "retry_on_error": [],
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
    # With RESP 3 a server may push messages, and the pool no longer tells a connection with an
    # unread reply by there being something to read.
    "protocol": 2,
}
"""Options of our connections, whatever the alias, its URL or another alias says."""

NOT_OURS = ("cache", "cache_config", "cache_factory", "maint_notifications_config")
"""Options of a pool that need RESP 3: a client-side cache, and maintenance messages."""


class Pool(Protocol):
    """What we use of a redis-py connection pool."""

    connection_kwargs: dict[str, Any]

    def get_connection(self) -> Any: ...
    def release(self, connection: Any) -> None: ...
    def reset(self) -> None: ...
    def disconnect(self) -> None: ...


def private_pool(factory: Any, url: str) -> Pool:
    """Return a pool for the server at `url`, made as the factory makes its own but shared by none.

    The factory must belong to a cache of our own.
    """
    given = getattr(factory, "pool_cls_kwargs", {})
    factory.pool_cls_kwargs = {k: v for k, v in given.items() if k not in NOT_OURS} | OURS
    url, mark, query = url.partition("?")
    kept = [(k, v) for k, v in parse_qsl(query) if k not in OURS and k not in NOT_OURS]
    url += mark + urlencode(kept)
    pool: Pool = factory.get_connection_pool(factory.make_connection_params(url))
    pool.connection_kwargs.update(OURS)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.set_retry(OURS["retry"])  # Rather than one again, the next is asked.
    pool.reset()
    return keeping(pool)


class KeepingPool:
    """Keeps what is given back in front of a pool of redis-py's, to which it is all in use.

    That pool's own way to hand a connection out and take it back, with locks, events and metrics,
    is a good fifth of the time that a call takes. It still counts those that are kept against its
    `max_connections`, and its disconnect() closes them.
    """

    def __init__(self, pool: Pool) -> None:
        self.connection_kwargs = pool.connection_kwargs
        self.disconnect = pool.disconnect
        self._pool = pool
        self._kept: list[Any] = []  # pop() and append() are atomic

    def get_connection(self) -> Any:
        """Return a connection that is ready for a command, as a pool of redis-py's does."""
        try:
            connection = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        if _is_ready(connection):
            return connection
        connection.disconnect()
        self._pool.release(connection)
        return self._pool.get_connection()

    def release(self, connection: Any) -> None:
        self._kept.append(connection)

    def reset(self) -> None:
        self._kept.clear()
        self._pool.reset()


def _is_ready(connection: Any) -> bool:
    # A forked child must not use its parent's. What can be read is the end of the connection, or a
    # reply that nobody waited for.
    try:
        return connection.pid == os.getpid() and not connection.can_read()
    except (RedisError, OSError):
        return False


def keeping(pool: Pool) -> Pool:
    """Return a pool that is quicker, if it is of the kind that can be.

    One that waits for a connection must be given it back, and Sentinel's asks where the primary is.
    """
    return KeepingPool(pool) if type(pool) is ConnectionPool else pool


def location(options: Mapping[str, Any]) -> Hashable:
    """Return which database of which server connections with these options lead to."""
    db = int(options.get("db") or 0)
    if "path" in options:
        return "unix", options["path"], db
    host = str(options.get("host") or "localhost").lower()
    return "127.0.0.1" if host == "localhost" else host, int(options.get("port") or 6379), db
