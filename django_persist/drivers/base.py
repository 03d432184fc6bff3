"""The narrow side of a store: the few primitives in which drivers differ.

A driver gets checked, full keys (with PREFIX and namespaces) and values as JSON text in UTF-8. It
never looks into a value, except in `incr`, which accepts canonical decimal integers. For every
primitive, an entry that has expired is the same as no entry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from django.core.checks import CheckMessage, Warning

from ..backoff import attempts
from ..exceptions import ContentionError
from ..expiry import MICROSECOND, Expiry, expires_at_micros, from_micros, now, to_micros

Text: TypeAlias = str | bytes
"""A stored value as the server returns it: JSON text, decoded from UTF-8 or not."""

COUNTER: Final = range(-(2**63), 2**63)
"""The numbers `incr` counts in: signed 64-bit integers, like Redis's INCRBY."""

LEAST: Final = COUNTER[0]
MOST: Final = COUNTER[-1]
"""Its bounds. Comparing with both is faster than `in COUNTER`."""

LAST_TIME: Final = 10**18 - 1
"""The last time that `advance` takes, in microseconds since 1970: in the year 33658."""

Write: TypeAlias = tuple[str, bytes, Expiry]
"""One of many entries to write: full key, value as JSON text in UTF-8, expiry."""


TRIES: Final = 200
SECONDS: Final = 10.0
"""The bounds of the default `advance`: it tries as often and as long as `Store.update`."""


def parse_time(text: Text) -> int | None:
    """Return the time that an entry's text stands for; None if it isn't one (see `advance`)."""
    try:
        time = int(text)
    except ValueError:
        return None
    canonical = str(time) if isinstance(text, str) else b"%d" % time
    return time if canonical == text and 0 <= time <= LAST_TIME else None


def distinct_expires_at(writes: Iterable[Write], start: int) -> dict[Expiry, int | None]:
    """Return `expires_at_micros` of each different expiry: most writes share one."""
    distinct = set(map(itemgetter(2), writes))
    return {expires: expires_at_micros(expires, start) for expires in distinct}


class Stored(NamedTuple):
    """An entry's text, and when it expires: an aware datetime in UTC, or None for never."""

    value: Text
    expires_at: datetime | None


class Counted(NamedTuple):
    """A counter's sum, and the time until it expires by the driver's clock; None for never."""

    total: int
    ttl: timedelta | None


class Advanced(NamedTuple):
    """Whether `advance` moved a stored time, and how far ahead of now that time is after it."""

    moved: bool
    ahead: timedelta


class Place(NamedTuple):
    """Where a driver keeps its entries, and what it puts before their keys there."""

    location: Hashable
    prefix: str = ""


class Driver(ABC):
    """What a store needs from the thing that keeps its entries.

    Every primitive is atomic and thread-safe. A moment of expiry that isn't in the future by the
    driver's clock raises InvalidExpiryError, and nothing is written. A server that can't be
    reached, or refuses because of its own state, raises StoreUnavailableError. Losing against other
    writers raises ContentionError.
    """

    supports_atomic_set_many: bool = True
    """Whether `set_many` is all or nothing. On a Redis Cluster it is only within a slot."""

    supports_exact_listings: bool = True
    """Whether a listing has each key once. Redis may repeat a key while it resizes its tables."""

    supports_several_processes: bool = True
    """Whether other processes see the entries. Those in memory end with their process."""

    # One key.

    @abstractmethod
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        """Store if there is no live entry; return whether it did."""

    @abstractmethod
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        """Store, overwriting any entry. With `keep`, a live entry keeps its expiry."""

    @abstractmethod
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        """Return the live entry's text, or None.

        With `for_update`, return the text that a write would find now, even if the caller's
        transaction reads from an older snapshot. Otherwise a read-compare-write loop might never
        end.
        """

    @abstractmethod
    def get_item(self, key: str) -> Stored | None:
        """Return the live entry's text and expiry, or None."""

    @abstractmethod
    def contains(self, key: str) -> bool:
        """Return whether there is a live entry."""

    @abstractmethod
    def remove(self, key: str) -> bool:
        """Delete the live entry; return whether there was one."""

    @abstractmethod
    def touch(self, key: str, expires: Expiry) -> bool:
        """Give the live entry a new expiry; return whether there was one."""

    @abstractmethod
    def incr(
        self,
        key: str,
        by: int,
        expires: Expiry,
        *,
        at_least: int = LEAST,
        at_most: int = MOST,
    ) -> int | None:
        """Add `by` to the live entry's integer, or start at `by` with `expires`; return the sum.

        Return None if nothing was changed: the text isn't a canonical 64-bit integer, the sum (of a
        new counter, `by`) is not from `at_least` to `at_most`, both of them 64-bit integers, or
        `by` is 0 and the driver can't tell the difference.
        """

    # For rate limits.

    def incr_with_ttl(self, key: str, by: int, expires: Expiry) -> Counted | None:
        """Count as `incr` does; return the sum and the time until the counter expires.

        Return None if nothing was changed: the text isn't a canonical 64-bit integer, or the sum
        would not be one. By default the expiry is read after counting, in a second step.
        """
        total = self.incr(key, by, expires)
        if total is None:
            return None
        stored = self.get_item(key)
        if stored is None:
            return Counted(total, timedelta(0))  # It has expired since.
        if stored.expires_at is None:
            return Counted(total, None)
        return Counted(total, max(stored.expires_at - self.clock(), timedelta(0)))

    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        """Move a stored time later by `by`, unless it would then be more than `at_most` from now.

        The value is the time, in microseconds since 1970 by the driver's clock: a canonical integer
        from 0 to LAST_TIME. It moves from now if there is no live entry, or if it is in the past.
        The entry then expires when its time has come, or up to a millisecond later. `by` is
        positive, and at most `at_most`.

        A call that moves nothing leaves the time as it is. Return None, and change nothing, if the
        live entry's text is not a time.

        By default this is a loop over compare and swap, which raises ContentionError if it keeps
        losing.
        """
        for attempt in attempts(TRIES, SECONDS):
            text = self.get(key, for_update=attempt > 0)
            at = to_micros(self.clock())
            time = at if text is None else parse_time(text)
            if time is None:
                return None
            later = max(time, at) + by // MICROSECOND
            if later > at + at_most // MICROSECOND:
                return Advanced(False, (time - at) * MICROSECOND)
            value, lifetime = b"%d" % later, (later - at) * MICROSECOND
            if text is None:
                moved = self.create(key, value, lifetime)
            else:
                moved = self.replace(key, text, value, lifetime)
            if moved:
                return Advanced(True, lifetime)
        raise ContentionError("A stored time could not be advanced: other writers kept winning.")

    # Compare and swap: `seen` is a text that `get` returned.

    @abstractmethod
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        """Store over the live entry if its text is still `seen`; return whether it was."""

    @abstractmethod
    def remove_if(self, key: str, seen: Text) -> bool:
        """Delete the live entry if its text is still `seen`; return whether it was."""

    # Many keys. A call that writes has each key once.

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Sequence[tuple[str, Text]]:
        """Return the live entries among `keys` with their texts, in any order."""

    @abstractmethod
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        """Store all of `writes`, or none of them. With `keep`, live entries keep their expiry."""

    @abstractmethod
    def remove_many(self, keys: Sequence[str]) -> int:
        """Delete the live entries among `keys`; return how many there were."""

    # Many entries with their expiries: most of this moves entries from one store to another.

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Return the live entries among `keys`."""
        found = ((key, self.get_item(key)) for key in keys)
        return {key: stored for key, stored in found if stored is not None}

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        """Store those of `writes` whose keys have no live entry; return the keys of the others.

        Each is stored as `create` does it, so a live entry always stays as it is.
        """
        return [key for key, value, expires in writes if not self.create(key, value, expires)]

    def clock(self) -> datetime:
        """Return the current moment in UTC, by the clock that decides when entries expire.

        If several servers have a clock each, return the earliest of them.
        """
        return from_micros(now())

    # The whole store: lazily, in bounded memory, and safe while others write.

    @abstractmethod
    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys of the live entries that begin with `prefix`."""

    @abstractmethod
    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        """Yield the live entries whose keys begin with `prefix`."""

    def count(self, prefix: str) -> int:
        """Return how many live entries have a key that begins with `prefix`."""
        return sum(1 for _ in self.keys(prefix))

    def purge(self, batch_size: int) -> Iterator[int]:
        """Delete expired entries in batches; yield how many each batch deleted.

        The first batch has at most `batch_size` entries; `drivers.batches` sizes the later ones. A
        driver whose server deletes expired entries by itself yields nothing.
        """
        return iter(())

    def expired(self) -> int:
        """Return how many expired entries `purge` would now delete."""
        return 0

    def size(self) -> int | None:
        """Return the size of everything kept there in bytes; None if finding out is expensive."""
        return None

    # Settings.

    def in_transaction(self) -> bool:
        """Return whether a write now would depend on a transaction of the caller's."""
        return False

    def close(self) -> None:  # noqa: B027 (most drivers have nothing to close)
        """Close the driver's own connections. The next call opens one again."""

    @abstractmethod
    def place(self) -> Place:
        """Return where the entries are kept, without I/O."""

    # For Django's system checks.

    def check(self) -> Iterable[CheckMessage]:
        """Return messages about the settings, without I/O."""
        return ()

    def check_databases(self, databases: Collection[str]) -> Iterable[CheckMessage]:
        """Return messages about the servers of these aliases of DATABASES, and ask no others."""
        return ()

    def check_deployment(self) -> Iterable[CheckMessage]:
        """Return messages for `manage.py check --deploy`. The server may be asked.

        If it can't be asked, return `could_not_ask`.
        """
        return ()


def could_not_ask(where: str, error: Exception) -> CheckMessage:
    """Return the warning of `check --deploy` about a server that it could not ask."""
    return Warning(
        f"{where} could not be asked: {error}",
        hint="Run this check where the server can be reached, with the settings of the site.",
        id="django_persist.W007",
    )
