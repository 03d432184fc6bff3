"""A store's own pool of connections to one server."""

from __future__ import annotations

import os
from typing import Any, Protocol

from redis.connection import ConnectionPool
from redis.exceptions import RedisError


class Pool(Protocol):
    """The part of a redis-py connection pool that the driver uses."""

    connection_kwargs: dict[str, Any]

    def get_connection(self) -> Any: ...
    def release(self, connection: Any) -> None: ...
    def disconnect(self) -> None: ...


def fast_pool(pool: Pool) -> Pool:
    """Return a FastPool over the pool, or the pool itself if it must see every connection.

    BlockingConnectionPool wakes a waiting thread when a connection is given back, and Sentinel's
    pool replaces idle connections when the primary changes.
    """
    return FastPool(pool) if type(pool) is ConnectionPool else pool


class FastPool:
    """Keeps idle connections in front of a redis-py pool, which counts them as in use.

    Taking a connection from redis-py's pool and giving it back costs locks, events and metrics: a
    fifth of the time of a call. redis-py's pool still opens the connections, limits their number
    (`max_connections`) and closes them all in disconnect().
    """

    def __init__(self, pool: Pool) -> None:
        self.connection_kwargs = pool.connection_kwargs
        self.disconnect = pool.disconnect
        self._pool = pool
        self._idle: list[Any] = []  # Needs no lock: pop() and append() are atomic.

    def get_connection(self) -> Any:
        """Return a connection that is ready for a command."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._pool.get_connection()
        if _is_ready(connection):
            return connection
        connection.disconnect()
        self._pool.release(connection)
        return self._pool.get_connection()

    def release(self, connection: Any) -> None:
        """Take a connection back."""
        self._idle.append(connection)


def _is_ready(connection: Any) -> bool:
    """Return whether a connection is this process's own, is open, and has no unread reply."""
    try:
        # A forked child must not use its parent's connection. If there is something to read, it is
        # the end of the connection, or a reply that nobody waited for.
        return connection.pid == os.getpid() and not connection.can_read()
    except (RedisError, OSError):
        return False
