"""Connections to a server as its alias says, in a pool of our own, and what tells servers apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from redis.backoff import NoBackoff
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
    return pool


def location(options: Mapping[str, Any]) -> Hashable:
    """Return which database of which server connections with these options lead to."""
    db = int(options.get("db") or 0)
    if "path" in options:
        return "unix", options["path"], db
    host = str(options.get("host") or "localhost").lower()
    return "127.0.0.1" if host == "localhost" else host, int(options.get("port") or 6379), db
