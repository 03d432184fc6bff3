"""MemoryCache: a Django cache that never evicts, in the memory of one process.

Its public name is `django_persist.cache.MemoryCache`.
"""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from . import codec
from .exceptions import DecodeError
from .expiry import now
from .json_cache import JSONCache
from .memory import SECOND, Slot, memory


class MemoryCache(JSONCache):
    """A cache that never evicts, shared by the threads of a process and lost with it.

    Its LOCATION names the memory, which `clear()` empties. Each call frees a few expired entries.
    Values are kept as JSON, so that changing an object never changes a stored value. As in a
    PersistCache, a value that plain JSON can't hold raises EncodeError, and `incr` and versions
    keep the timeout.
    """

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.memory = memory(name)

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name = self.make_and_validate_key(key, version=version)
        slot = self._slot(value, timeout)
        with self.memory.lock:
            if self.memory.find(name, now()) is not None:
                return False
            self._put(name, slot)
            return True

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        name = self.make_and_validate_key(key, version=version)
        slot = self.memory.read(name, now())
        return default if slot is None else codec.decode(slot.text, key=name)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        name = self.make_and_validate_key(key, version=version)
        slot = self._slot(value, timeout)
        with self.memory.lock:
            self._put(name, slot)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name = self.make_and_validate_key(key, version=version)
        with self.memory.lock:
            slot = self.memory.find(name, now())
            if slot is None:
                return False
            self._put(name, Slot(slot.value, self._expires_at(timeout)))
            return True

    def delete(self, key: Any, version: int | None = None) -> bool:
        name = self.make_and_validate_key(key, version=version)
        with self.memory.lock:
            is_live = self.memory.find(name, now()) is not None
            self.memory.drop(name)
            return is_live

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        name = self.make_and_validate_key(key, version=version)
        with self.memory.lock:
            slot = self.memory.find(name, now())
            if slot is None:
                raise ValueError(f"Key {key!r} not found.")
            try:
                total = int(codec.decode(slot.text, int, key=name)) + delta
            except DecodeError as error:
                # Not a ValueError, which means that there is no entry.
                raise TypeError(f"The value of {key!r} is not an integer.") from error
            self._put(name, Slot(codec.encode(total), slot.expires_at))
            return total

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        if version is None:
            version = self.version
        old = self.make_and_validate_key(key, version=version)
        new = self.make_and_validate_key(key, version=version + delta)
        with self.memory.lock:
            slot = self.memory.find(old, now())
            if slot is None:
                raise ValueError(f"Key {key!r} not found.")
            if new != old:
                self.memory.put(new, slot)
                self.memory.drop(old)
            return version + delta

    def has_key(self, key: Any, version: int | None = None) -> bool:
        name = self.make_and_validate_key(key, version=version)
        return self.memory.find(name, now()) is not None

    def clear(self) -> None:
        with self.memory.lock:
            self.memory.clear()

    def _put(self, name: str, slot: Slot) -> None:
        moment = now()
        self.memory.sweep(moment)
        if slot.expires_at is not None and slot.expires_at <= moment:
            self.memory.drop(name)
        else:
            self.memory.put(name, slot)

    def _slot(self, value: Any, timeout: Any) -> Slot:
        return Slot(codec.encode_plain(value), self._expires_at(timeout))

    def _expires_at(self, timeout: Any) -> int | None:
        lifetime = self.lifetime(timeout)
        return None if lifetime is None else now() + int(lifetime * SECOND)
