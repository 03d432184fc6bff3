"""A store's own connections to one server.

redis-py's pools are not used, because they take back a connection whatever became of it. A call can
be interrupted at any moment, by a signal's exception or a gevent timeout: while a connection is
being opened (it may not have authenticated, or selected its database), or before a reply was read
(the next call would read it). Here only a connection that was opened to its end, and whose replies
were all read, is used again.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakSet

from redis.exceptions import ConnectionError, RedisError

from ...interruptions import raise_interruption

LONGEST_POLL = 0.01
"""Seconds between two looks for a free connection, at most."""


class NoFreeConnectionError(ConnectionError):
    """The pool has as many connections as it may have, and all are in use."""


class Pool:
    """Connections to one server: idle ones, and as many in use as there are calls.

    At most `max_connections` are open. A call that finds all in use waits for up to `wait` seconds
    (None: without end), and then raises NoFreeConnectionError.

    Open connections are counted by being there. One that an interruption loses is freed by Python,
    which closes it, and is then no longer counted: no count can become wrong.
    """

    def __init__(
        self,
        make_connection: Callable[[], Any],
        connection_kwargs: dict[str, Any],
        *,
        max_connections: int,
        wait: float | None = 0,
    ) -> None:
        self.connection_kwargs = connection_kwargs
        """The options of the connections, by redis-py's names."""
        self._make_connection = make_connection
        self._max_connections = max_connections
        self._wait = wait
        self.renew()
        _pools.add(self)

    def renew(self) -> None:
        """Start without connections. Those of a forked child's parent are left to Python."""
        self._lock = Lock()
        self._idle: list[Any] = []  # Needs no lock: pop() and append() are atomic.
        self._open: WeakSet[Any] = WeakSet()

    def get_connection(self) -> Any:
        """Return a connection that is ready for a command.

        Raises what redis-py raises if none can be opened, and NoFreeConnectionError.
        """
        if (connection := self._ready()) is not None:
            return connection
        deadline = None if self._wait is None else time.monotonic() + self._wait
        while (connection := self._opened()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise NoFreeConnectionError(
                    f"all {self._max_connections} connections are in use. Raise the option "
                    "max_connections, or use redis-py's BlockingConnectionPool, which waits"
                )
            time.sleep(random.uniform(0, LONGEST_POLL))
            if (connection := self._ready()) is not None:
                return connection
        return connection

    def _ready(self) -> Any | None:
        """Return an idle connection that can be used; None if there is none."""
        connection = None
        try:
            while self._idle:
                connection = self._idle.pop()
                if _is_ready(connection):
                    return connection
                self.discard(connection)
        except IndexError:
            pass  # Another thread was faster.
        except BaseException:
            self.discard(connection)
            raise
        return None

    def _opened(self) -> Any | None:
        """Return a new connection; None if there may be no more."""
        connection = self._added()
        if connection is None:
            return None
        try:
            connection.connect()
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def _added(self) -> Any | None:
        """Return a new connection, not yet open; None if there may be no more."""
        with self._lock:
            if len(self._open) >= self._max_connections:
                return None
            connection = self._make_connection()
            self._open.add(connection)
            return connection

    def release(self, connection: Any) -> None:
        """Take back a connection all of whose replies have been read."""
        self._idle.append(connection)

    def discard(self, connection: Any | None) -> None:
        """Close a connection that must not be used again."""
        if connection is not None:
            self._open.discard(connection)
            connection.disconnect()

    def close_idle(self) -> None:
        """Close the connections that no call is using."""
        try:
            while self._idle:
                self.discard(self._idle.pop())
        except IndexError:
            pass  # Another thread was faster.


def _is_ready(connection: Any) -> bool:
    """Return whether a connection is open and has no unread reply."""
    handled = sys.exception()
    try:
        # Something to read is the end of the connection, or a reply that nobody waited for.
        return not connection.can_read()
    except (RedisError, OSError) as error:
        raise_interruption(error, handled, RedisError)
        return False


_pools: WeakSet[Pool] = WeakSet()


def _renew_pools() -> None:
    # A child must not use its parent's connections, and the thread that holds a lock isn't there.
    for pool in _pools:
        pool.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_pools)
