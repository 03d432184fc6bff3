"""The memory driver: entries in the memory of one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.core.checks import CheckMessage, Warning

from ..cache import MemoryCache, Slot
from ..exceptions import InvalidStoreError
from ..expiry import Expiry, ends, from_micros, now
from .base import COUNTER, Place, Stored, Text, Write
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
        moment = now()
        slot = Slot(value, ends(expires, moment))
        with self.memory.lock:
            self.memory.sweep(moment)
            if self.memory.live(key, moment) is not None:
                return False
            self.memory.put(key, slot)
            return True

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        self.set_many([Write(key, value, expires)], keep=keep)

    def get(self, key: str, *, latest: bool = False) -> Text | None:
        slot = self._live(key)
        return None if slot is None else slot.value

    def get_item(self, key: str) -> Stored | None:
        slot = self._live(key)
        return None if slot is None else _stored(slot)

    def contains(self, key: str) -> bool:
        return self._live(key) is not None

    def remove(self, key: str) -> bool:
        return self.remove_many([key]) == 1

    def touch(self, key: str, expires: Expiry) -> bool:
        moment = now()
        expires_at = ends(expires, moment)
        with self.memory.lock:
            slot = self.memory.live(key, moment)
            if slot is None:
                return False
            self.memory.put(key, Slot(slot.value, expires_at))
            return True

    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        moment = now()
        expires_at = ends(expires, moment)
        with self.memory.lock:
            slot = self.memory.live(key, moment)
            if slot is None:
                total = by
            else:
                counter = _integer(slot.value)
                if counter is None or counter + by not in COUNTER:
                    return None
                total, expires_at = counter + by, slot.expires_at
            self.memory.put(key, Slot(b"%d" % total, expires_at))
            return total

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        moment = now()
        expires_at = ends(expires, moment)
        with self.memory.lock:
            slot = self.memory.live(key, moment)
            if slot is None or slot.value != seen:
                return False
            self.memory.put(key, Slot(value, slot.expires_at if keep else expires_at))
            return True

    def remove_if(self, key: str, seen: Text) -> bool:
        with self.memory.lock:
            slot = self.memory.live(key, now())
            if slot is None or slot.value != seen:
                return False
            self.memory.drop(key)
            return True

    # Many keys.

    def get_many(self, keys: Sequence[str]) -> dict[str, Text]:
        moment = now()
        with self.memory.lock:
            slots = ((key, self.memory.live(key, moment)) for key in keys)
            return {key: slot.value for key, slot in slots if slot is not None}

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        moment = now()
        slots = [(key, Slot(value, ends(expires, moment))) for key, value, expires in writes]
        with self.memory.lock:
            self.memory.sweep(moment)
            for key, slot in slots:
                old = self.memory.live(key, moment) if keep else None
                self.memory.put(key, slot if old is None else Slot(slot.value, old.expires_at))

    def remove_many(self, keys: Sequence[str]) -> int:
        moment = now()
        with self.memory.lock:
            live = [key for key in keys if self.memory.live(key, moment) is not None]
            for key in live:
                self.memory.drop(key)
            return len(live)

    # The whole store: the list of keys, eight bytes for each, is copied; nothing else is.

    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key, _ in self.items(prefix))

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        with self.memory.lock:
            keys = list(self.memory.slots)
        for key in keys:
            if key.startswith(prefix):
                slot = self._live(key)
                if slot is not None:
                    yield key, _stored(slot)

    def purge(self, batch_size: int) -> Iterator[int]:
        moment = now()
        deleted = batch_size
        while deleted == batch_size:
            with self.memory.lock:
                doomed = list(islice(self.memory.expired(moment), batch_size))
                for key in doomed:
                    self.memory.drop(key)
            deleted = len(doomed)
            yield deleted

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

    def _live(self, key: str) -> Slot | None:
        moment = now()
        with self.memory.lock:
            self.memory.sweep(moment)
            return self.memory.live(key, moment)


def _stored(slot: Slot) -> Stored:
    return Stored(slot.value, None if slot.expires_at is None else from_micros(slot.expires_at))


def _integer(text: bytes) -> int | None:
    """Return a canonical integer of 64 bits, or None for any other text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and number in COUNTER else None
