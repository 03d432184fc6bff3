"""Entries on their way from one store to another: streamed, with their expiries.

Memory is bounded by a batch: BATCH_ENTRIES, of BATCH_BYTES in all unless a single one is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

from . import codec
from .drivers.base import Stored, Text, Write
from .exceptions import (
    ContentionError,
    DecodeError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
    StoreUnavailableError,
    ValueTooLargeError,
)
from .expiry import parse
from .store import Store

BATCH_ENTRIES: Final = 1000
BATCH_BYTES: Final = 1_000_000

TRIES: Final = 10
"""How often an entry is looked at that is there for `create_many`, and then gone again."""

PRECISION: Final = timedelta(milliseconds=1)
"""Moments that are nearer to each other are the same: Redis keeps whole milliseconds."""

_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


class Existing(Enum):
    """What becomes of an entry whose key has a live entry in the target."""

    TELL = auto()
    """It is left out; it counts as unchanged where the same is there, and is told where not."""

    SKIP = auto()
    """It is left out."""

    OVERWRITE = auto()
    """It is stored over what is there."""


class Entry(NamedTuple):
    """One entry, its key without PREFIX, and its line if it comes from a file."""

    key: str
    value: bytes
    expires_at: datetime | None
    line: int | None = None

    @property
    def where(self) -> str:
        """How a message calls it: never by its value."""
        key = repr(self.key) if len(self.key) <= 255 else f"{self.key[:80]!r}..."
        return key if self.line is None else f"Line {self.line}, {key}"


@dataclass
class Tally:
    """What has become of the entries so far: each that was read is in one of the counts."""

    tell: Callable[[str], None]
    """Called with a message for each entry that is left out, and that nobody asked to leave out."""

    stored: int = 0
    unchanged: int = 0
    """The same was there, with the same end."""
    skipped: int = 0
    """Something was there, and was to be left as it is."""
    differing: int = 0
    """Something else was there, and was left as it is."""
    expired: int = 0
    """The lifetime ended on the way."""
    refused: int = 0
    """It is no entry, or one that the target can't hold."""
    uncertain: int = 0
    """Of those that were under way when it ended, as many may have been stored, or none."""
    fault: str | None = None
    """What is wrong with the source as a whole."""

    def refuse(self, message: str) -> None:
        self.refused += 1
        self.tell(message)


def entries(store: Store, prefix: str = "") -> Iterator[Entry]:
    """Yield the live entries of a store, as `Store.items` does, without looking at the values."""
    skip = len(store.keyspace.prefix)
    for key, stored in store.driver.items(store.keyspace.full_prefix(prefix)):
        yield Entry(key[skip:], to_bytes(stored.value), stored.expires_at)


def to_bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def one_line(text: bytes) -> bytes:
    """Return JSON text without line breaks: in JSON they stand only where a space may stand."""
    return text.translate(_BREAKS)


class Transfer:
    """Entries that are being stored in `target`, and counted in `tally`.

    With `dry_run` nothing is written: what would be stored counts as stored.
    """

    def __init__(
        self, target: Store, tally: Tally, existing: Existing, *, dry_run: bool = False
    ) -> None:
        self.target = target
        self.tally = tally
        self.existing = existing
        self.dry_run = dry_run

    def run(self, entries: Iterable[Entry]) -> Iterator[None]:
        """Store entries a batch at a time, and yield after each.

        Raises StoreUnavailableError and ContentionError; `tally` says what was done until then.
        """
        for batch in self._batches(entries):
            alive = self._alive(batch)
            if self.dry_run:
                self._compare(alive)
            else:
                self._write(alive)
            yield

    def _batches(self, entries: Iterable[Entry]) -> Iterator[list[Entry]]:
        batch: dict[str, Entry] = {}
        size = 0
        for entry in entries:
            checked = self._checked(entry)
            if checked is None:
                continue
            is_full = len(batch) == BATCH_ENTRIES or size + len(entry.value) > BATCH_BYTES
            # One key twice is for two batches: the second meets what the first has stored.
            if batch and (is_full or entry.key in batch):
                yield list(batch.values())
                batch, size = {}, 0
            batch[entry.key] = checked
            size += len(entry.value)
        if batch:
            yield list(batch.values())

    def _checked(self, entry: Entry) -> Entry | None:
        """Return what the store itself would take, its end in UTC; None where it would refuse."""
        try:
            self.target.keyspace.full(entry.key)
            self.target.keyspace.encode(codec.decode(entry.value, key=entry.key))
            self.target.keyspace.check_size(len(entry.value))
            expires_at = parse(entry.expires_at)
        except DecodeError:
            self.tally.refuse(f"{entry.where}: the value is not JSON that can be read.")
            return None
        except (InvalidKeyError, EncodeError, InvalidExpiryError) as error:
            self.tally.refuse(f"{entry.where}: {error}")
            return None
        assert not isinstance(expires_at, timedelta)
        return entry._replace(expires_at=expires_at)

    def _alive(self, batch: list[Entry]) -> list[Entry]:
        """Return the entries that have not ended, by the clock of the target; count the others."""
        if all(entry.expires_at is None for entry in batch):
            return batch
        moment = self.target.driver.clock()
        alive = [e for e in batch if e.expires_at is None or e.expires_at > moment]
        self.tally.expired += len(batch) - len(alive)
        return alive

    def _write(self, batch: Sequence[Entry]) -> None:
        self.tally.uncertain = len(batch)
        try:
            self._put(batch)
        except (StoreUnavailableError, ContentionError) as error:
            if not getattr(error, "maybe_applied", False):
                self.tally.uncertain = 0
            raise

    def _put(self, batch: Sequence[Entry]) -> None:
        """Store a batch, or the parts of it that can be stored."""
        try:
            left = self._stored(batch)
        except (InvalidExpiryError, ValueTooLargeError) as error:
            # One of them is too large for the server, or has ended since; nothing was stored.
            if len(batch) > 1:
                half = len(batch) // 2
                self._put(batch[:half])
                self._put(batch[half:])
                return
            left = []
            if isinstance(error, InvalidExpiryError):
                self.tally.expired += 1
            else:
                self.tally.refuse(f"{batch[0].where}: {error}")
        else:
            self.tally.stored += len(batch) - len(left)
        self.tally.uncertain -= len(batch) - len(left)
        if left:
            self._leave(left)
            self.tally.uncertain -= len(left)

    def _stored(self, batch: Sequence[Entry]) -> Sequence[Entry]:
        """Store what may be stored; return what was left out as something is there."""
        driver, prefix = self.target.driver, self.target.keyspace.prefix
        writes: list[Write] = [(prefix + e.key, e.value, e.expires_at) for e in batch]
        if self.existing is Existing.OVERWRITE:
            driver.set_many(writes)
            return []
        there = set(driver.create_many(writes))
        return [e for e in batch if prefix + e.key in there]

    def _leave(self, left: Sequence[Entry]) -> None:
        """Count entries that were left out; try again to store those whose place is free now."""
        if self.existing is Existing.SKIP:
            self.tally.skipped += len(left)
            return
        for _ in range(TRIES):
            free = self._compared(left)
            if not free:
                return
            left = self._stored(free)
            self.tally.stored += len(free) - len(left)
        for entry in left:
            self._differs(entry)

    def _compare(self, batch: Sequence[Entry]) -> None:
        """Count what would become of entries."""
        tally, existing = self.tally, self.existing
        if existing is Existing.TELL:
            tally.stored += len(self._compared(batch))
            return
        there = self._there(batch)
        for entry in batch:
            stored = there.get(entry.key)
            if stored is None:
                tally.stored += 1
            elif existing is Existing.SKIP:
                tally.skipped += 1
            elif _is_same(entry, stored):
                tally.unchanged += 1
            else:
                tally.stored += 1

    def _compared(self, batch: Sequence[Entry]) -> list[Entry]:
        """Count entries by what is in their place; return those that have nothing there."""
        there = self._there(batch)
        free = []
        for entry in batch:
            stored = there.get(entry.key)
            if stored is None:
                free.append(entry)
            elif _is_same(entry, stored):
                self.tally.unchanged += 1
            else:
                self._differs(entry)
        return free

    def _there(self, batch: Sequence[Entry]) -> dict[str, Stored]:
        prefix = self.target.keyspace.prefix
        found = self.target.driver.get_items([prefix + entry.key for entry in batch])
        return {key[len(prefix) :]: stored for key, stored in found.items()}

    def _differs(self, entry: Entry) -> None:
        self.tally.differing += 1
        self.tally.tell(f"{entry.where}: another entry is there, and was left as it is.")


def _is_same(entry: Entry, stored: Stored) -> bool:
    if one_line(entry.value) != one_line(to_bytes(stored.value)):
        return False
    if entry.expires_at is None or stored.expires_at is None:
        return entry.expires_at is stored.expires_at
    return abs(entry.expires_at - stored.expires_at) < PRECISION
