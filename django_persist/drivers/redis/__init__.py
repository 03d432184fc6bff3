"""The Redis driver: entries on the Redis or Valkey that an alias of CACHES names."""

from __future__ import annotations

try:
    from .driver import RedisDriver
except ImportError as error:
    raise ImportError(
        f"RedisDriver needs redis-py: {error}. Install django-persist[redis]."
    ) from error

__all__ = ["RedisDriver"]
