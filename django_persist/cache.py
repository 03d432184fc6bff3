"""MemoryCache: a Django cache that never evicts, in the memory of one process."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from . import codec
from .expiry import now
from .memory import SECOND, Slot, memory


class MemoryCache(BaseCache):
    """A cache that never evicts, shared by the threads of a process and lost with it.

    Its LOCATION names the memory. Each call frees a few expired entries. Values are kept as JSON,
    so that changing an object never changes a stored value. A value that can't be stored
    faithfully raises EncodeError.
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
                raise ValueError(f"Key '{key}' not found")
            total = int(codec.decode(slot.text, int, key=name)) + delta
            self._put(name, Slot(codec.encode(total), slot.expires_at))
            return total

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
        return Slot(codec.encode(value), self._expires_at(timeout))

    def _expires_at(self, timeout: Any) -> int | None:
        seconds = self.get_backend_timeout(timeout)
        return None if seconds is None else int(seconds * SECOND)
