"""The memory driver: entries in the memory of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from ..exceptions import InvalidStoreError
from ..expiry import MICROSECOND, Expiry, expires_at_micros, from_micros, now
from ..memory import Slot
from ..memory_cache import MemoryCache
from .base import (
    COUNTER,
    LEAST,
    MOST,
    Advanced,
    Place,
    Stored,
    Text,
    Write,
    distinct_expires_at,
    parse_time,
)
from .batches import batches
from .cache import CacheDriver


def _unchanged_key(key: str, prefix: str, version: Any) -> str:
    return key


class MemoryDriver(CacheDriver):
    """Keep entries in a named MemoryCache: never evicted, and lost with the process.

    The threads of a process share it; each process has its own. The clock is the application's.
    """

    supports_several_processes = False

    def __init__(self, name: str = "default") -> None:
        if not isinstance(name, str):
            raise InvalidStoreError(
                f"The name of a memory must be a str, not {type(name).__name__}.",
                id="django_persist.E004",
            )
        # A LOCATION that no cache in CACHES has: its clear() would empty the store.
        cache = MemoryCache(f"django_persist:{name}", {"KEY_FUNCTION": _unchanged_key})
        super().__init__(cache)
        self.name = name
        self.memory = cache.memory

    def place(self) -> Place:
        return Place(("memory", self.name), self.prefix)

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        memory, at = self.memory, now()
        slot = Slot(value, expires_at_micros(expires, at))
        with memory.lock:
            memory.sweep(at)
            if memory.find(key, at) is not None:
                return False
            memory.put(key, slot)
            return True

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        memory, at = self.memory, now()
        slot = Slot(value, expires_at_micros(expires, at))
        with memory.lock:
            memory.sweep(at)
            old = memory.find(key, at) if keep else None
            memory.put(key, slot if old is None else Slot(value, old.expires_at))

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        slot = self.memory.read(key, now())
        if slot is None:
            return None
        # `slot.text` inlined: reading is most of what a store does, and the call a tenth of it.
        value = slot.value
        return value if type(value) is bytes else slot.text

    def get_item(self, key: str) -> Stored | None:
        slot = self.memory.read(key, now())
        return None if slot is None else _stored(slot)

    def contains(self, key: str) -> bool:
        return self.memory.read(key, now()) is not None

    def remove(self, key: str) -> bool:
        return self.remove_many([key]) == 1

    def touch(self, key: str, expires: Expiry) -> bool:
        memory, at = self.memory, now()
        expires_at = expires_at_micros(expires, at)
        with memory.lock:
            slot = memory.find(key, at)
            if slot is None:
                return False
            memory.put(key, Slot(slot.value, expires_at))
            return True

    def incr(
        self,
        key: str,
        by: int,
        expires: Expiry,
        *,
        at_least: int = LEAST,
        at_most: int = MOST,
    ) -> int | None:
        memory, at = self.memory, now()
        if expires is not None and type(expires) is not timedelta:
            # Rejects a moment that has passed, even if the counter keeps an expiry of its own.
            expires_at_micros(expires, at)
        with memory.lock:
            slot = memory.slots.get(key)
            if slot is None or ((ended := slot.expires_at) is not None and ended <= at):
                if not at_least <= by <= at_most:
                    return None
                memory.put(key, Slot(by, expires_at_micros(expires, at)))
                return by
            value = slot.value
            counter = _integer(value) if isinstance(value, bytes) else value
            if counter is None or not at_least <= (total := counter + by) <= at_most:
                return None
            # The expiry stays, so a reader without the lock gets one sum or the other.
            slot.value = total
            return total

    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        memory, at = self.memory, now()
        with memory.lock:
            memory.sweep(at)
            slot = memory.find(key, at)
            time = at if slot is None else parse_time(slot.text)
            if time is None:
                return None
            later = max(time, at) + by // MICROSECOND
            if moved := later <= at + at_most // MICROSECOND:
                memory.put(key, Slot(later, later))
        return Advanced(moved, ((later if moved else time) - at) * MICROSECOND)

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        memory, at = self.memory, now()
        expires_at = expires_at_micros(expires, at)
        with memory.lock:
            slot = memory.find(key, at)
            if slot is None or slot.text != seen:
                return False
            memory.put(key, Slot(value, slot.expires_at if keep else expires_at))
            return True

    def remove_if(self, key: str, seen: Text) -> bool:
        memory = self.memory
        with memory.lock:
            slot = memory.find(key, now())
            if slot is None or slot.text != seen:
                return False
            memory.drop(key)
            return True

    # Many keys.

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        memory, at = self.memory, now()
        with memory.lock:
            slots = [(key, memory.find(key, at)) for key in keys]
        return [(key, slot.text) for key, slot in slots if slot is not None]

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        memory, at = self.memory, now()
        expires_at = distinct_expires_at(writes, at)
        slots = {key: Slot(value, expires_at[expires]) for key, value, expires in writes}
        with memory.lock:
            memory.sweep(at)
            if keep:
                for key, slot in slots.items():
                    old = memory.find(key, at)
                    if old is not None:
                        slot.expires_at = old.expires_at
            memory.put_many(slots)

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        memory, at = self.memory, now()
        expires_at = distinct_expires_at(writes, at)
        slots = [(key, Slot(value, expires_at[expires])) for key, value, expires in writes]
        left = []
        with memory.lock:
            memory.sweep(at)
            for key, slot in slots:
                if memory.find(key, at) is None:
                    memory.put(key, slot)
                else:
                    left.append(key)
        return left

    def remove_many(self, keys: Sequence[str]) -> int:
        memory, at = self.memory, now()
        with memory.lock:
            live = [key for key in keys if memory.find(key, at) is not None]
            for key in live:
                memory.drop(key)
            return len(live)

    # The whole store. Only the list of keys is copied: eight bytes for each.

    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key, _ in self._listed(prefix))

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        return ((key, _stored(slot)) for key, slot in self._listed(prefix))

    def _listed(self, prefix: str) -> Iterator[tuple[str, Slot]]:
        memory = self.memory
        with memory.lock:
            keys = list(memory.slots)
        for key in keys:
            if key.startswith(prefix) and (slot := memory.read(key, now())) is not None:
                yield key, slot

    def purge(self, batch_size: int) -> Iterator[int]:
        memory, at = self.memory, now()

        def delete(limit: int) -> tuple[int, bool]:
            with memory.lock:
                doomed = list(islice(memory.expired(at), limit))
                for key in doomed:
                    memory.drop(key)
            return len(doomed), len(doomed) == limit

        return batches(batch_size, delete, exclusive=True)

    def expired(self) -> int:
        with self.memory.lock:
            return sum(1 for _ in self.memory.expired(now()))


def _stored(slot: Slot) -> Stored:
    expires_at = slot.expires_at
    return Stored(slot.text, None if expires_at is None else from_micros(expires_at))


def _integer(text: bytes) -> int | None:
    """Return the integer of a canonical 64-bit one, or None for any other text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and number in COUNTER else None
