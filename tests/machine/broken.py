"""Memory drivers that each break the contract in one way, for the machine to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import translate
from re import compile as pattern

from django_persist.cache import Slot
from django_persist.drivers.base import Stored, Text, Write
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import Expiry, now


class GetsWhatHasExpired(MemoryDriver):
    def get(self, key: str, *, latest: bool = False) -> Text | None:
        slot = self.memory.slots.get(key)
        return None if slot is None else slot.value


class EndsTooLate(MemoryDriver):
    """An entry is still there at the very moment at which it ends."""

    def contains(self, key: str) -> bool:
        slot = self.memory.slots.get(key)
        return slot is not None and (slot.expires_at is None or slot.expires_at >= now())


class KeepForgetsTheDefault(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        super().set(key, value, None if keep else expires, keep=keep)


class CreatesOverTheLiving(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        created = super().create(key, value, expires)
        if not created:
            self.set(key, value, expires)
        return created


class TouchRevives(MemoryDriver):
    def touch(self, key: str, expires: Expiry) -> bool:
        slot = self.memory.slots.get(key)
        if slot is None:
            return False
        self.set(key, slot.value, expires)
        return True


class IncrRenews(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        total = super().incr(key, by, expires)
        if total is not None:
            self.touch(key, expires)
        return total


class IncrOverflows(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        total = super().incr(key, by, expires)
        if total is None:
            item = self.get_item(key)
            if item is not None and item.value.lstrip(b"-").isdigit():  # type: ignore[arg-type]
                total = int(item.value) + by
                self.memory.put(key, Slot(b"%d" % total, self.memory.slots[key].expires_at))
        return total


class PopLeavesTheEntry(MemoryDriver):
    def remove_if(self, key: str, seen: Text) -> bool:
        return self.get(key) == seen


class ReplacesWithoutKeep(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        return super().replace(key, seen, value, expires)


class SetManyDropsTheLast(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        super().set_many(writes[: max(1, len(writes) - 1)], keep=keep)


class RemoveManyCountsTheDead(MemoryDriver):
    def remove_many(self, keys: Sequence[str]) -> int:
        there = sum(key in self.memory.slots for key in keys)
        super().remove_many(keys)
        return there


class ListsBySomePattern(MemoryDriver):
    """A prefix with wildcards in it lists, and clears, the keys of a sibling."""

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        matches = pattern(translate(prefix + "*"))
        return ((key, stored) for key, stored in super().items("") if matches.match(key))


class PurgesTheLiving(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        yield from super().purge(batch_size)
        soon = [key for key, slot in self.memory.slots.items() if _ends_by(slot, 1_000_000)]
        yield self.remove_many(soon)


class FoldsCase(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        folded = {each.casefold() for each in self.keys("")}
        return key.casefold() not in folded and super().create(key, value, expires)


class RoundsToSeconds(MemoryDriver):
    def get_item(self, key: str) -> Stored | None:
        item = super().get_item(key)
        if item is None or item.expires_at is None:
            return item
        return Stored(item.value, item.expires_at.replace(microsecond=0))


class TakesAPastMoment(MemoryDriver):
    def touch(self, key: str, expires: Expiry) -> bool:
        try:
            return super().touch(key, expires)
        except ValueError:
            return self.remove(key)


def _ends_by(slot: Slot, micros: int) -> bool:
    return slot.expires_at is not None and slot.expires_at <= now() + micros


BROKEN: list[type[MemoryDriver]] = [
    each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, MemoryDriver) and each is not MemoryDriver
]
