"""Memory drivers with one fault each, and what must find it: the contract, the state machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from django_persist.drivers.base import Advanced, Counted, Stored, Text, Write, parse_time
from django_persist.drivers.memory import MemoryDriver
from django_persist.expiry import MICROSECOND, Expiry, from_micros, now
from django_persist.memory import Slot
from tests.extent import LONG

Class = TypeVar("Class", bound=type[MemoryDriver])

FOUND_BY_THE_CONTRACT: dict[type[MemoryDriver], str] = {}
"""The test of the contract that names the fault."""

FOUND_BY_THE_MACHINE: list[type[MemoryDriver]] = []


def found_by(test: str, *, machine: bool = True) -> Callable[[Class], Class]:
    """Return a decorator that says which test of the contract must find the fault.

    With `machine` the state machine must find it too. That calls from one thread, with few entries
    and few tries in each run, so it can't find every fault.
    """

    def add(cls: Class) -> Class:
        FOUND_BY_THE_CONTRACT[cls] = test
        if machine:
            FOUND_BY_THE_MACHINE.append(cls)
        return cls

    return add


def found_by_the_machine(cls: Class) -> Class:
    """Mark a fault that only the machine can find, as the contract's clock never stands still."""
    FOUND_BY_THE_MACHINE.append(cls)
    return cls


def dawdle() -> None:
    """Give other threads the time of a round trip."""
    time.sleep(0.0001)


@found_by("test_what_has_expired_is_not_there")
class GetIgnoresExpiry(MemoryDriver):
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        slot = self.memory.slots.get(key)
        return None if slot is None else slot.text


@found_by("test_what_has_expired_is_not_there")
class TouchRevivesTheExpired(MemoryDriver):
    def touch(self, key: str, expires: Expiry) -> bool:
        slot = self.memory.slots.get(key)
        if slot is not None:
            self.set(key, slot.text, expires)
        return slot is not None


# The machine takes eight seconds of a processor for it.
@found_by("test_what_has_expired_is_not_there", machine=LONG)
class ListsTheExpired(MemoryDriver):
    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key in list(self.memory.slots) if key.startswith(prefix))


@found_by("test_what_is_stored_over_the_expired_inherits_nothing", machine=False)
class ExpiredEntriesAreDuplicates(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return key not in self.memory.slots and super().create(key, value, expires)


@found_by("test_keep_gives_the_default_where_no_live_entry_is", machine=False)
class KeepInheritsADeadExpiry(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        old = self.memory.slots.get(key)
        super().set(key, value, expires)
        if keep and old is not None:
            self.memory.put(key, Slot(value, old.expires_at))


@found_by("test_set_without_expires_takes_an_earlier_expiry_away", machine=False)
class SetKeepsTheExpiry(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        super().set(key, value, expires, keep=keep or expires is None)


@found_by("test_a_lifetime_counts_from_the_call", machine=False)
class LifetimesAreWholeSeconds(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        if isinstance(expires, timedelta):
            expires = timedelta(seconds=expires // timedelta(seconds=1)) or expires
        super().set(key, value, expires, keep=keep)


@found_by("test_one_create_wins", machine=False)
class CreateIsNotAtomic(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        if self.contains(key):
            return False
        dawdle()
        self.set(key, value, expires)
        return True


@found_by("test_every_incr_counts", machine=False)
class IncrIsNotAtomic(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        if not self.contains(key):
            return super().incr(key, by, expires, **bounds)
        total = super().incr(key, 0, None, **bounds)
        if total is None:
            return None
        dawdle()
        self.set(key, b"%d" % (total + by), None, keep=True)
        return total + by


@found_by("test_expires_counts_only_for_the_call_that_starts_the_counter", machine=False)
class IncrGivesANewLifetime(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        total = super().incr(key, by, expires, **bounds)
        self.touch(key, expires)
        return total


@found_by("test_the_sum_is_exact_or_refused", machine=False)
class IncrCountsInFloats(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        total = super().incr(key, by, expires, **bounds)
        return None if total is None else int(float(total))


@found_by("test_a_value_that_is_not_an_integer_is_left_as_it_is")
class IncrTakesWhateverItIsForZero(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        total = super().incr(key, by, expires, **bounds)
        if total is None:
            self.set(key, b"%d" % by, expires)
        return by if total is None else total


@found_by("test_bounds_hold_for_the_sum")
class BoundsAreIgnored(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        return super().incr(key, by, expires)


@found_by("test_bounds_hold_for_a_new_counter", machine=False)
class BoundsAreIgnoredByNewCounters(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        if not self.contains(key):
            bounds = {}
        return super().incr(key, by, expires, **bounds)


@found_by("test_bounds_hold_for_eight_threads", machine=False)
class BoundsAreCheckedTooEarly(MemoryDriver):
    def incr(self, key: str, by: int, expires: Expiry, **bounds: int) -> int | None:
        total = (super().incr(key, 0, None) or 0) + by if self.contains(key) else by
        if not bounds.get("at_least", total) <= total <= bounds.get("at_most", total):
            return None
        dawdle()
        return super().incr(key, by, expires)


@found_by("test_a_count_comes_with_the_time_left", machine=False)
class CountsGetANewLifetime(MemoryDriver):
    def incr_with_ttl(self, key: str, by: int, expires: Expiry) -> Counted | None:
        super().incr_with_ttl(key, by, expires)
        self.touch(key, expires)
        return super().incr_with_ttl(key, 0, expires)


@found_by("test_every_count_counts", machine=False)
class CountsAreReadAgain(MemoryDriver):
    def incr_with_ttl(self, key: str, by: int, expires: Expiry) -> Counted | None:
        super().incr_with_ttl(key, by, expires)
        dawdle()
        return super().incr_with_ttl(key, 0, expires)


@found_by("test_a_time_never_gets_too_far_ahead", machine=False)
class ARefusedStepCounts(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        result = super().advance(key, by, at_most)
        if result is not None and not result.moved:
            super().advance(key, by, 2 * at_most)
        return result


@found_by("test_a_time_in_the_past_moves_from_now", machine=False)
class TimesMoveFromThePast(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        text = self.get(key)
        time = None if text is None else parse_time(text)
        if time is None or time > now():
            return super().advance(key, by, at_most)
        self.set(key, b"%d" % (time + by // MICROSECOND), by)
        return Advanced(True, by)


@found_by("test_a_time_moves_on_from_where_it_is", machine=False)
class TimesAreMilliseconds(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        return super().advance(key, by // timedelta(milliseconds=1) * by.resolution * 1000, at_most)


@found_by("test_what_is_not_a_time_is_left_as_it_is", machine=False)
class WhatIsNoTimeIsReplaced(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        if (result := super().advance(key, by, at_most)) is None:
            self.remove(key)
        return result or super().advance(key, by, at_most)


@found_by("test_a_time_takes_no_step_too_many_from_eight_threads", machine=False)
class AdvanceIsNotAtomic(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        time = parse_time(self.get(key) or b"0") or 0
        ahead = max(time - now(), 0) * MICROSECOND
        if ahead + by > at_most:
            return Advanced(False, ahead)
        dawdle()
        return super().advance(key, by, timedelta(days=9999))


@found_by("test_the_entry_is_gone_when_its_time_has_come", machine=False)
class TimesNeverExpire(MemoryDriver):
    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        result = super().advance(key, by, at_most)
        self.touch(key, None)
        return result


@found_by("test_create_many_leaves_live_entries_as_they_are")
class CreateManyStoresOverTheLiving(MemoryDriver):
    def create_many(self, writes: Sequence[Write]) -> list[str]:
        existing = super().create_many(writes)
        self.set_many([write for write in writes if write[0] in existing])
        return existing


@found_by("test_one_create_many_wins", machine=False)
class CreateManyIsNotAtomic(MemoryDriver):
    def create_many(self, writes: Sequence[Write]) -> list[str]:
        existing = [key for key, _, _ in writes if self.contains(key)]
        dawdle()
        super().create_many(writes)
        return existing


@found_by("test_one_pop_gets_the_value", machine=False)
class TwoCallersPopOneValue(MemoryDriver):
    def remove_if(self, key: str, seen: Text) -> bool:
        dawdle()
        self.remove(key)
        return True


@found_by("test_fn_runs_again_on_what_another_wrote", machine=False)
class ReplaceDoesNotCompare(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        self.set(key, value, expires, keep=keep)
        return True


@found_by("test_a_new_expiry_costs_no_value_that_another_wrote", machine=False)
class ReplaceWithAnExpiryDoesNotCompare(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        if not keep:
            seen = super().get(key) or b""
        return super().replace(key, seen, value, expires, keep=keep)


@found_by("test_a_duplicate_leaves_value_and_expiry_as_they_were", machine=False)
class CreateUntilAMomentStoresOverTheLiving(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        if isinstance(expires, datetime):
            self.set(key, value, expires)
            return True
        return super().create(key, value, expires)


@found_by("test_what_lives_all_the_while_is_listed_while_others_write", machine=False)
class AListingRepeatsWhatIsWrittenMeanwhile(MemoryDriver):
    def keys(self, prefix: str) -> Iterator[str]:
        texts = {key: self.get(key) for key in super().keys(prefix)}
        yield from texts
        yield from (key for key, text in texts.items() if self.get(key) not in (text, None))


@found_by("test_update_keeps_the_expiry")
class ReplaceLosesTheExpiry(MemoryDriver):
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        return super().replace(key, seen, value, expires)


@found_by("test_a_reader_never_sees_half_of_set_many", machine=False)
class SetManyIsSeenByHalf(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        for write in writes:
            super().set_many([write], keep=keep)
            dawdle()


@found_by("test_a_past_moment_of_one_key_stores_none", machine=False)
class SetManyRefusesHalfway(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        for write in writes:
            super().set_many([write], keep=keep)


@found_by("test_look_alikes_are_separate_keys")
class KeysFoldCase(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return super().create(key.casefold(), value, expires)


@found_by("test_a_key_can_have_255_characters_of_any_kind", machine=False)
class LongKeysAreCut(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        return super().create(key[:255], value, expires)


@found_by("test_clear_never_takes_a_siblings_entry")
class APrefixIsAPattern(MemoryDriver):
    def keys(self, prefix: str) -> Iterator[str]:
        return super().keys(prefix.partition("%")[0])


@found_by("test_a_listing_of_many_has_each_of_them", machine=False)
class AListingEndsAfterAPage(MemoryDriver):
    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        return (item for _, item in zip(range(1000), super().items(prefix), strict=False))


@found_by("test_a_value_reads_back_as_what_it_was", machine=False)
class ValuesAreReformatted(MemoryDriver):
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        text = super().get(key)
        return text if text is None else json.dumps(json.loads(text), sort_keys=True)


@found_by("test_none_is_a_value", machine=False)
class NoneIsNothing(MemoryDriver):
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        text = super().get(key)
        return None if text == b"null" else text


@found_by("test_every_read_reports_a_corrupt_entry", machine=False)
class CorruptTextIsAbsent(MemoryDriver):
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        text = super().get(key)
        try:
            json.loads(text or b"null")
        except ValueError:
            return None
        return text


@found_by("test_purge_never_takes_an_entry_that_was_renewed", machine=False)
class PurgeTakesTheRenewed(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        doomed = [key for key in self.memory.slots if not self.contains(key)]
        while doomed:
            batch, doomed = doomed[:batch_size], doomed[batch_size:]
            for key in batch:
                self.memory.drop(key)
            yield len(batch)


@found_by("test_purge_takes_everything_in_batches", machine=False)
class PurgeTakesAllAtOnce(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        yield sum(super().purge(batch_size))


@found_by("test_items_have_values_and_expiries")
class ItemsEndWhenTheyWereListed(MemoryDriver):
    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        moment = from_micros(time.time_ns() // 1000)
        for key, stored in super().items(prefix):
            yield key, Stored(stored.value, stored.expires_at and moment)


@found_by_the_machine
class EndsTooLate(MemoryDriver):
    """An entry is still there at the very moment at which it ends."""

    def contains(self, key: str) -> bool:
        slot = self.memory.slots.get(key)
        return slot is not None and (slot.expires_at is None or slot.expires_at >= now())


@found_by("test_keep_gives_the_default_where_no_live_entry_is", machine=False)
class KeepForgetsTheDefault(MemoryDriver):
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        super().set(key, value, None if keep else expires, keep=keep)


@found_by("test_a_duplicate_leaves_value_and_expiry_as_they_were")
class CreateStoresOverTheLiving(MemoryDriver):
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        created = super().create(key, value, expires)
        if not created:
            self.set(key, value, expires)
        return created


@found_by("test_pop_takes_the_value_out")
class PopLeavesTheEntry(MemoryDriver):
    def remove_if(self, key: str, seen: Text) -> bool:
        return self.get(key) == seen


@found_by("test_any_number_of_keys")
class SetManyDropsTheLast(MemoryDriver):
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        super().set_many(writes[: max(1, len(writes) - 1)], keep=keep)


@found_by("test_what_has_expired_is_not_there", machine=False)
class RemoveManyCountsTheExpired(MemoryDriver):
    def remove_many(self, keys: Sequence[str]) -> int:
        there = sum(key in self.memory.slots for key in keys)
        super().remove_many(keys)
        return there


@found_by("test_purge_deletes_only_expired_entries")
class PurgeTakesWhateverEnds(MemoryDriver):
    def purge(self, batch_size: int) -> Iterator[int]:
        yield self.remove_many([key for key, slot in self.memory.slots.items() if slot.expires_at])


@found_by("test_a_moment_is_kept_to_the_millisecond", machine=False)
class MomentsAreWholeSeconds(MemoryDriver):
    def get_item(self, key: str) -> Stored | None:
        item = super().get_item(key)
        if item is None or item.expires_at is None:
            return item
        return Stored(item.value, item.expires_at.replace(microsecond=0))


@found_by("test_a_past_moment_is_refused_and_nothing_is_changed", machine=False)
class TouchTakesAPastMoment(MemoryDriver):
    def touch(self, key: str, expires: Expiry) -> bool:
        try:
            return super().touch(key, expires)
        except ValueError:
            return self.remove(key)
