"""Entries in the memory of one process, indexed by when they expire."""

from __future__ import annotations

import os
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from threading import Lock
from weakref import WeakSet

import msgspec

SWEEP = 16
"""How many expired entries a call frees at most. This bounds its cost, yet is more than the one
entry that it can add."""

SECOND = 1_000_000
"""In microseconds, the unit of the clock."""


class Slot(msgspec.Struct, gc=False):
    """A stored value, and the microsecond at which it expires, or None for never.

    The value is JSON text; a counter may be the integer itself. Only a counter changes in place.
    Every other write makes a new slot, so that readers, who hold no lock, see one state or the
    other.
    """

    value: bytes | int
    expires_at: int | None

    @property
    def text(self) -> bytes:
        """The value's JSON text."""
        value = self.value
        return b"%d" % value if isinstance(value, int) else value


class Memory:
    """Entries with their expiries. Hold `lock` to change them; reading needs no lock.

    `slots` is the truth. The index only says where to look for expired entries: the keys that
    expire within the same second are in one set, and the seconds are in a heap. An entry that is
    renewed or removed leaves nothing behind, and freeing an expired one costs the same however many
    entries there are.

    Any step can be the last one: a signal's exception may end the call, or another thread may fork.
    So the steps are in such an order that the index may say too much, but never too little. An
    entry is freed only if its own slot says that it has expired.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.slots: dict[str, Slot] = {}
        self.due = inf
        """The microsecond from which there may be something to sweep, or earlier."""
        self._keys_by_second: dict[int, set[str]] = {}
        self._seconds: list[int] = []
        """A heap of at least the keys of `_keys_by_second`."""
        self._doomed: list[str] = []
        """Keys of the second that is being swept, from the last to the first."""
        _all_memories.add(self)

    def find(self, key: str, at: int) -> Slot | None:
        """Return the entry, unless it has expired by `at`."""
        slot = self.slots.get(key)
        if slot is None:
            return None
        expires_at = slot.expires_at
        return slot if expires_at is None or expires_at > at else None

    def read(self, key: str, at: int) -> Slot | None:
        """Find an entry without holding `lock`, and sweep if something is due.

        If another thread holds the lock, that one or the next sweeps.
        """
        if self.due <= at and not self.lock.locked():
            # Not acquire(blocking=False): an interruption right after it would keep the lock held.
            with self.lock:
                self.sweep(at)
        # `find` inlined: the call would be a tenth of a `get`.
        slot = self.slots.get(key)
        if slot is None:
            return None
        expires_at = slot.expires_at
        return slot if expires_at is None or expires_at > at else None

    def put(self, key: str, slot: Slot) -> None:
        """Store an entry, overwriting any other."""
        old = self.slots.get(key)
        old_second = None if old is None or old.expires_at is None else old.expires_at // SECOND
        second = None if slot.expires_at is None else slot.expires_at // SECOND
        if second is not None and second != old_second:
            self._enter(key, second)
        self.slots[key] = slot
        if old_second is not None and second != old_second:
            self._leave(key, old_second)

    def put_many(self, slots: dict[str, Slot]) -> None:
        """Store all of some entries, or none of them."""
        left = []
        for key, slot in slots.items():
            old = self.slots.get(key)
            old_second = None if old is None or old.expires_at is None else old.expires_at // SECOND
            second = None if slot.expires_at is None else slot.expires_at // SECOND
            if second != old_second:
                if second is not None:
                    self._enter(key, second)
                if old_second is not None:
                    left.append((key, old_second))
        # One call in C, which nothing interrupts.
        self.slots.update(slots)
        for key, second in left:
            self._leave(key, second)

    def drop(self, key: str) -> None:
        """Remove an entry, if there is one."""
        slot = self.slots.pop(key, None)
        if slot is not None and slot.expires_at is not None:
            self._leave(key, slot.expires_at // SECOND)

    def _enter(self, key: str, second: int) -> None:
        keys = self._keys_by_second.get(second)
        if keys is None:
            self.due = min(self.due, (second + 1) * SECOND)
            heappush(self._seconds, second)
            keys = self._keys_by_second.setdefault(second, set())
        keys.add(key)

    def _leave(self, key: str, second: int) -> None:
        keys = self._keys_by_second.get(second)
        if keys is None:
            return
        keys.discard(key)
        if not keys:
            del self._keys_by_second[second]
            if self._seconds and second == self._seconds[0]:
                while self._seconds and self._seconds[0] not in self._keys_by_second:
                    heappop(self._seconds)
                self._find_due()
            # Inside the heap an empty second stays, until most of the heap is empty seconds.
            elif len(self._seconds) > 2 * len(self._keys_by_second) + SWEEP:
                self._seconds = sorted(self._keys_by_second)

    def _find_due(self) -> None:
        """Note which second is the first one now."""
        self._doomed.clear()
        self.due = (self._seconds[0] + 1) * SECOND if self._seconds else inf

    def copy(self) -> Memory:
        """Return another memory with the same entries."""
        copied = Memory()
        with self.lock:
            for key, slot in self.slots.items():
                # New slots, because a counter changes in place.
                copied.put(key, Slot(slot.value, slot.expires_at))
        return copied

    def clear(self) -> None:
        """Remove all entries."""
        self.slots.clear()
        self._keys_by_second.clear()
        self._seconds.clear()
        self._find_due()

    def expired(self, at: int) -> Iterator[str]:
        """Yield the keys of the entries that have expired by `at`, by their second."""
        for second in self._seconds_until(at // SECOND):
            for key in self._keys_by_second.get(second, ()):
                slot = self.slots.get(key)
                if slot is None or slot.expires_at is None:
                    continue
                if slot.expires_at <= at and slot.expires_at // SECOND == second:
                    yield key

    def _seconds_until(self, last: int) -> Iterator[int]:
        """Yield the seconds in the heap up to `last`, in order, without looking at later ones."""
        seconds, seen = self._seconds, -inf
        near = [(second, 0) for second in seconds[:1]]
        while near and near[0][0] <= last:
            second, index = heappop(near)
            if second != seen:
                yield second
            seen = second
            for below in (2 * index + 1, 2 * index + 2):
                if below < len(seconds):
                    heappush(near, (seconds[below], below))

    def sweep(self, at: int) -> None:
        """Free at most SWEEP of the entries that expired before the second of `at`."""
        left = SWEEP
        while self.due <= at:
            if not self._seconds:
                self._find_due()
                return
            second = self._seconds[0]
            if (second + 1) * SECOND > at:
                # `due` was too early: an interruption came before it was set.
                self._find_due()
                return
            keys = self._keys_by_second.get(second)
            while keys and left:
                if not self._doomed:
                    # Finding the first key of a set takes longer, the more of it has been freed.
                    self._doomed = list(keys)
                key = self._doomed[-1]
                slot = self.slots.get(key)
                if slot is not None and slot.expires_at is not None and slot.expires_at <= at:
                    del self.slots[key]
                keys.discard(key)
                self._doomed.pop()
                left -= 1
            if keys:
                return
            self._keys_by_second.pop(second, None)
            heappop(self._seconds)
            self._find_due()


_all_memories: WeakSet[Memory] = WeakSet()
_memories: dict[str, Memory] = {}
_memories_lock = Lock()


def memory(name: str) -> Memory:
    """Return the memory of that name, one per process."""
    with _memories_lock:
        return _memories.setdefault(name, Memory())


def _renew_locks() -> None:
    # In a forked child, the thread that holds a lock is not there to release it.
    global _memories_lock
    _memories_lock = Lock()
    for each in _all_memories:
        each.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
