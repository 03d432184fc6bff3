"""Entries in the memory of one process, and the order in which they end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from threading import Lock

import msgspec

SWEEP = 16
"""How many expired entries a call gives back at most: a bound on its cost, yet more than the one
entry that it can add."""

SECOND = 1_000_000


class Slot(msgspec.Struct, gc=False):
    """A stored value, and the microsecond at which it ends.

    The value is JSON text, but that of a counter may be the integer itself. Only a counter changes
    in place: what else is written is another slot, so that who reads one sees it whole.
    """

    value: bytes | int
    expires_at: int | None

    @property
    def text(self) -> bytes:
        """The value's JSON text."""
        value = self.value
        return b"%d" % value if isinstance(value, int) else value


class Memory:
    """Entries, each with its end. Who calls what changes them holds `lock`; reading needs none.

    Keys that end within the same second lie in one set, and the seconds in a heap. So an entry that
    is renewed, or removed, leaves nothing behind, and giving back one that has expired costs the
    same however many there are.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.slots: dict[str, Slot] = {}
        self.due = inf
        """The microsecond from which on there may be something to sweep."""
        self._ending: dict[int, set[str]] = {}
        self._seconds: list[int] = []

    def find(self, key: str, moment: int) -> Slot | None:
        """Return the entry, unless it has ended by `moment`."""
        slot = self.slots.get(key)
        if slot is None:
            return None
        expires_at = slot.expires_at
        return slot if expires_at is None or expires_at > moment else None

    def read(self, key: str, moment: int) -> Slot | None:
        """Find an entry without holding `lock`, and sweep where something is due.

        Nobody waits for `lock` to read: who holds it sweeps, or the next one does.
        """
        if self.due <= moment and self.lock.acquire(blocking=False):
            try:
                self.sweep(moment)
            finally:
                self.lock.release()
        # As `find` has it, without the call.
        slot = self.slots.get(key)
        if slot is None:
            return None
        expires_at = slot.expires_at
        return slot if expires_at is None or expires_at > moment else None

    def put(self, key: str, slot: Slot) -> None:
        """Store an entry over whatever was there."""
        old = self.slots.get(key)
        self.slots[key] = slot
        ended = None if old is None or old.expires_at is None else old.expires_at // SECOND
        ends = None if slot.expires_at is None else slot.expires_at // SECOND
        if ends != ended:
            if ended is not None:
                self._leave(key, ended)
            if ends is not None:
                self._enter(key, ends)

    def drop(self, key: str) -> None:
        """Remove an entry, if there is one."""
        slot = self.slots.pop(key, None)
        if slot is not None and slot.expires_at is not None:
            self._leave(key, slot.expires_at // SECOND)

    def _enter(self, key: str, second: int) -> None:
        if second not in self._ending:
            self._ending[second] = set()
            heappush(self._seconds, second)
            self._find_due()
        self._ending[second].add(key)

    def _leave(self, key: str, second: int) -> None:
        self._ending[second].discard(key)
        if not self._ending[second]:
            del self._ending[second]
            if second == self._seconds[0]:
                while self._seconds and self._seconds[0] not in self._ending:
                    heappop(self._seconds)
                self._find_due()
            # Elsewhere it stays in the heap, but not once most of the heap is of its kind.
            elif len(self._seconds) > 2 * len(self._ending) + SWEEP:
                self._seconds = sorted(self._ending)

    def _find_due(self) -> None:
        self.due = (self._seconds[0] + 1) * SECOND if self._seconds else inf

    def copy(self) -> Memory:
        """Return another memory with the same entries."""
        copied = Memory()
        with self.lock:
            for key, slot in self.slots.items():
                # A counter changes in place.
                copied.put(key, Slot(slot.value, slot.expires_at))
        return copied

    def clear(self) -> None:
        """Remove all entries."""
        self.slots.clear()
        self._ending.clear()
        self._seconds.clear()
        self._find_due()

    def expired(self, moment: int) -> Iterator[str]:
        """Yield the keys of the entries that have ended by `moment`, the earliest first."""
        this_second = moment // SECOND
        for second in self._due_by(this_second):
            keys = self._ending.get(second, ())
            if second < this_second:
                yield from keys
            else:
                yield from (key for key in keys if self.find(key, moment) is None)

    def _due_by(self, last: int) -> Iterator[int]:
        """Yield the seconds of the heap up to `last` in their order, and look at no others."""
        seconds, seen = self._seconds, -inf
        near = [(second, 0) for second in seconds[:1]]
        while near and near[0][0] <= last:
            second, at = heappop(near)
            if second != seen:
                yield second
            seen = second
            for below in (2 * at + 1, 2 * at + 2):
                if below < len(seconds):
                    heappush(near, (seconds[below], below))

    def sweep(self, moment: int) -> None:
        """Give back some entries, SWEEP at most, that ended before the second of `moment`."""
        left = SWEEP
        while self.due <= moment:
            keys = self._ending.get(self._seconds[0])
            while keys and left:
                del self.slots[keys.pop()]
                left -= 1
            if keys:
                return
            self._ending.pop(heappop(self._seconds), None)
            self._find_due()


_memories: dict[str, Memory] = {}
_memories_lock = Lock()


def memory(name: str) -> Memory:
    """Return the memory of that name, one for the whole process."""
    with _memories_lock:
        return _memories.setdefault(name, Memory())


def _renew_locks() -> None:
    # A thread that holds a lock isn't there in a forked child to give it back.
    global _memories_lock
    _memories_lock = Lock()
    for each in _memories.values():
        each.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
