"""What the Django caches of this package have in common: async calls as atomic as the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from .expiry import LONGEST


class JSONCache(BaseCache):
    """Base class of caches that keep values as JSON.

    Django's own async calls for counters, versions and many keys are loops of `aget` and `aset`.
    Here each runs its sync call in a thread, so that an `aincr` loses no count and no timeout.
    """

    def lifetime(self, timeout: Any) -> float | None:
        """Return a timeout in seconds; None for never; 0 if the entry is not to be stored."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else float(max(min(timeout, LONGEST.total_seconds()), 0))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return await sync_to_async(self.has_key)(key, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await sync_to_async(self.incr)(key, delta, version)

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await sync_to_async(self.incr_version)(key, delta, version)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return await sync_to_async(self.get_many)(keys, version)

    async def aset_many(
        self,
        data: dict[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (the name that Django gives it)
        version: int | None = None,
    ) -> list[Any]:
        return await sync_to_async(self.set_many)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        await sync_to_async(self.delete_many)(keys, version)
