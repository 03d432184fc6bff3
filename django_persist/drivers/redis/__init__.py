"""The Redis driver: entries on the Redis or Valkey that a django-redis alias of CACHES names."""

from __future__ import annotations

try:
    from .driver import RedisDriver
except ImportError as error:
    raise ImportError(
        f"RedisDriver needs django-redis: {error}. Install django-persist[redis]."
    ) from error

__all__ = ["RedisDriver"]
