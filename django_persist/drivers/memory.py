"""The memory driver: entries in the memory of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from django.core.checks import CheckMessage, Warning

from ..cache import MemoryCache
from ..exceptions import InvalidStoreError
from ..expiry import Expiry, expires_at_micros, from_micros, now
from ..memory import Slot
from .base import COUNTER, LEAST, MOST, Place, Stored, Text, Write, distinct_expires_at
from .batches import batches
from .cache import CacheDriver


def _key_as_it_is(key: str, prefix: str, version: Any) -> str:
    return key


class MemoryDriver(CacheDriver):
    """Keeps entries in a MemoryCache of its own, by name: never evicted, lost with the process.

    The threads of a process share it; each process has its own. The clock is the application's.
    """

    def __init__(self, name: str = "default") -> None:
        if not isinstance(name, str):
            raise InvalidStoreError(
                f"The name of a memory must be a str, not {type(name).__name__}.",
                id="django_persist.E004",
            )
        # Not a LOCATION that a cache in CACHES may have: its clear() would empty it.
        cache = MemoryCache(f"django_persist:{name}", {"KEY_FUNCTION": _key_as_it_is})
        super().__init__(cache)
        self.name = name
        self.memory = cache.memory

    def place(self) -> Place:
        return Place(("memory", self.name), self.prefix)

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        memory, moment = self.memory, now()
        slot = Slot(value, expires_at_micros(expires, moment))
        with memory.lock:
            memory.sweep(moment)
            if memory.find(key, moment) is not None:
                return False
            memory.put(key, slot)
            return True

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        memory, moment = self.memory, now()
        slot = Slot(value, expires_at_micros(expires, moment))
        with memory.lock:
            memory.sweep(moment)
            old = memory.find(key, moment) if keep else None
            memory.put(key, slot if old is None else Slot(value, old.expires_at))

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        slot = self.memory.read(key, now())
        if slot is None:
            return None
        # As `slot.text` has it, without the call: this is most of what a store does.
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
        memory, moment = self.memory, now()
        expires_at = expires_at_micros(expires, moment)
        with memory.lock:
            slot = memory.find(key, moment)
            if slot is None:
                return False
            memory.put(key, Slot(slot.value, expires_at))
            return True

    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        memory, moment = self.memory, now()
        if expires is not None and type(expires) is not timedelta:
            expires_at_micros(
                expires, moment
            )  # refuses a moment that has passed, whether or not it counts
        with memory.lock:
            slot = memory.slots.get(key)
            if slot is None or ((ended := slot.expires_at) is not None and ended <= moment):
                memory.put(key, Slot(by, expires_at_micros(expires, moment)))
                return by
            value = slot.value
            counter = _integer(value) if isinstance(value, bytes) else value
            if counter is None or not LEAST <= (total := counter + by) <= MOST:
                return None
            # It ends when it did, so whoever reads it meanwhile gets one sum or the other.
            slot.value = total
            return total

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        memory, moment = self.memory, now()
        expires_at = expires_at_micros(expires, moment)
        with memory.lock:
            slot = memory.find(key, moment)
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
        memory, moment = self.memory, now()
        with memory.lock:
            slots = [(key, memory.find(key, moment)) for key in keys]
        return [(key, slot.text) for key, slot in slots if slot is not None]

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        memory, moment = self.memory, now()
        moments = distinct_expires_at(writes, moment)
        slots = [(key, Slot(value, moments[expires])) for key, value, expires in writes]
        with memory.lock:
            memory.sweep(moment)
            for key, slot in slots:
                old = memory.find(key, moment) if keep else None
                memory.put(key, slot if old is None else Slot(slot.value, old.expires_at))

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        memory, moment = self.memory, now()
        moments = distinct_expires_at(writes, moment)
        slots = [(key, Slot(value, moments[expires])) for key, value, expires in writes]
        left = []
        with memory.lock:
            memory.sweep(moment)
            for key, slot in slots:
                if memory.find(key, moment) is None:
                    memory.put(key, slot)
                else:
                    left.append(key)
        return left

    def remove_many(self, keys: Sequence[str]) -> int:
        memory, moment = self.memory, now()
        with memory.lock:
            live = [key for key in keys if memory.find(key, moment) is not None]
            for key in live:
                memory.drop(key)
            return len(live)

    # The whole store: the list of keys, eight bytes for each, is copied; nothing else is.

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
        memory, moment = self.memory, now()

        def delete(limit: int) -> tuple[int, bool]:
            with memory.lock:
                doomed = list(islice(memory.expired(moment), limit))
                for key in doomed:
                    memory.drop(key)
            return len(doomed), len(doomed) == limit

        return batches(batch_size, delete, exclusive=True)

    def expired(self) -> int:
        with self.memory.lock:
            return sum(1 for _ in self.memory.expired(now()))

    def check_deployment(self) -> Sequence[CheckMessage]:
        return [
            Warning(
                f"The memory driver {self.name!r} keeps entries in each process for itself.",
                hint="Behind more than one process, or over a restart, use another driver.",
                id="django_persist.W002",
            )
        ]


def _stored(slot: Slot) -> Stored:
    expires_at = slot.expires_at
    return Stored(slot.text, None if expires_at is None else from_micros(expires_at))


def _integer(text: bytes) -> int | None:
    """Return a canonical integer of 64 bits, or None for any other text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and number in COUNTER else None
