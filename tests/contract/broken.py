"""Drivers with a fault each, and the test of the contract that names it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django_persist.drivers.base import Driver, Stored, Text, Write
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import Expiry, from_micros

BROKEN: dict[type[MemoryDriver], str] = {}


def found_by(test: str) -> Any:
    """Return a decorator that says which test of the contract is to find the fault."""

    def add(cls: type[MemoryDriver]) -> type[MemoryDriver]:
        BROKEN[cls] = test
        return cls

    return add


def dawdle() -> None:
    """Let other threads come in between, as a round trip would."""
    time.sleep(0.0001)


@found_by("test_what_has_expired_is_not_there")
class GetIgnoresExpiry(MemoryDriver):
    def get(self, key: str, *, latest: bool = False) -> Text | None:
        slot = self.memory.slots.get(key)
        return None if slot is None else slot.value


@found_by("test_what_has_expired_is_not_there")
class TouchRevivesTheExpired(MemoryDriver):
    def touch(self, key: str, expires: Expiry) -> bool:
        slot = self.memory.slots.get(key)
        if slot is not None:
            self.set(key, slot.value, expires)
        return slot is not None


@found_by("test_what_has_expired_is_not_there")
class ListsTheExpired(MemoryDriver):
    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key in list(self.memory.slots) if key.startswith(prefix))


@found_by("test_what_is_stored_over_the_expired_inherits_nothing")
class TheExpiredAreDuplicates(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return key not in self.memory.slots and super().create(key, value, expires)


@found_by("test_keep_gives_the_default_where_no_live_entry_is")
class KeepInheritsADeadExpiry(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        old = self.memory.slots.get(key)
        super().set(key, value, expires)
        if keep and old is not None:
            self.memory.put(key, self.memory.slots[key]._replace(expires_at=old.expires_at))


@found_by("test_set_without_expires_takes_an_earlier_expiry_away")
class SetKeepsTheExpiry(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        super().set(key, value, expires, keep=keep or expires is None)


@found_by("test_a_lifetime_counts_from_the_call")
class LifetimesAreWholeSeconds(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        if isinstance(expires, timedelta):
            expires = timedelta(seconds=expires // timedelta(seconds=1)) or expires
        super().set(key, value, expires, keep=keep)


@found_by("test_one_create_wins")
class CreateIsNotAtomic(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        if self.contains(key):
            return False
        dawdle()
        self.set(key, value, expires)
        return True


@found_by("test_every_incr_counts")
class IncrIsNotAtomic(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        if not self.contains(key):
            return super().incr(key, by, expires)
        total = super().incr(key, 0, None)
        if total is None:
            return None
        dawdle()
        self.set(key, b"%d" % (total + by), None, keep=True)
        return total + by


@found_by("test_expires_counts_only_for_the_call_that_starts_the_counter")
class IncrGivesANewLifetime(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        total = super().incr(key, by, expires)
        self.touch(key, expires)
        return total


@found_by("test_the_sum_is_exact_or_refused")
class IncrCountsInFloats(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        total = super().incr(key, by, expires)
        return None if total is None else int(float(total))


@found_by("test_a_value_that_is_no_integer_is_left_as_it_is")
class IncrTakesWhateverItIsForZero(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        total = super().incr(key, by, expires)
        if total is None:
            self.set(key, b"%d" % by, expires)
        return by if total is None else total


@found_by("test_one_pop_gets_the_value")
class TwoGetWhatIsPopped(MemoryDriver):
    def remove_if(self, key: str, seen: Text) -> bool:
        dawdle()
        self.remove(key)
        return True


@found_by("test_fn_runs_again_on_what_another_wrote")
class ReplaceDoesNotCompare(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        self.set(key, value, expires, keep=keep)
        return True


@found_by("test_update_keeps_the_expiry")
class ReplaceLosesTheExpiry(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        return super().replace(key, seen, value, expires)


@found_by("test_a_reader_never_sees_half_of_set_many")
class SetManyIsSeenByHalf(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        for write in writes:
            super().set_many([write], keep=keep)
            dawdle()


@found_by("test_a_past_moment_of_one_key_stores_none")
class SetManyRefusesHalfway(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        for write in writes:
            super().set_many([write], keep=keep)


@found_by("test_remove_many_counts_the_entries_that_were_there")
class RemoveManyCountsWhatItWasAsked(MemoryDriver):
    def remove_many(self, keys: Sequence[str]) -> int:
        super().remove_many(keys)
        return len(keys)


@found_by("test_look_alikes_are_separate_keys")
class KeysFoldCase(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return super().create(key.casefold(), value, expires)


@found_by("test_a_key_can_have_255_characters_of_any_kind")
class LongKeysAreCut(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return super().create(key[:255], value, expires)


@found_by("test_clear_never_takes_a_siblings_entry")
class APrefixIsAPattern(MemoryDriver):
    def keys(self, prefix: str) -> Iterator[str]:
        return super().keys(prefix.partition("%")[0])


@found_by("test_a_listing_of_many_has_each_of_them")
class AListingEndsAfterAPage(MemoryDriver):
    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        return (item for _, item in zip(range(1000), super().items(prefix), strict=False))


@found_by("test_a_value_reads_back_as_what_it_was")
class ValuesAreWrittenAnew(MemoryDriver):
    def get(self, key: str, *, latest: bool = False) -> Text | None:
        text = super().get(key)
        return text if text is None else json.dumps(json.loads(text), sort_keys=True)


@found_by("test_none_is_a_value")
class NoneIsNothing(MemoryDriver):
    def get(self, key: str, *, latest: bool = False) -> Text | None:
        text = super().get(key)
        return None if text == b"null" else text


@found_by("test_every_read_tells_of_a_corrupt_entry")
class TheCorruptIsAbsent(MemoryDriver):
    def get(self, key: str, *, latest: bool = False) -> Text | None:
        text = super().get(key)
        try:
            json.loads(text or b"null")
        except ValueError:
            return None
        return text


@found_by("test_purge_never_takes_an_entry_that_was_renewed")
class PurgeTakesTheRenewed(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        doomed = [key for key in self.memory.slots if not self.contains(key)]
        while doomed:
            batch, doomed = doomed[:batch_size], doomed[batch_size:]
            for key in batch:
                self.memory.drop(key)
            yield len(batch)


@found_by("test_purge_takes_everything_in_batches")
class PurgeTakesAllAtOnce(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        yield sum(super().purge(batch_size))


@found_by("test_items_have_values_and_expiries")
class ItemsEndWhenTheyWereListed(MemoryDriver):
    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        moment = from_micros(time.time_ns() // 1000)
        for key, stored in super().items(prefix):
            yield key, Stored(stored.value, stored.expires_at and moment)


DRIVERS: list[type[Driver]] = [MemoryDriver, *BROKEN]
