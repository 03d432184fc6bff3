"""Move entries with their expiries from one store to another, as a stream.

Memory is bounded by one batch: up to BATCH_ENTRIES entries and BATCH_BYTES bytes of values, or one
value that is larger than that by itself.
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
from .keys import MAX_LENGTH
from .keyspace import Keyspace

BATCH_ENTRIES: Final = 1000
BATCH_BYTES: Final = 1_000_000

TRIES: Final = 10
"""How often to retry a key that existed for `create_many` but was gone when it was compared."""

PRECISION: Final = timedelta(milliseconds=1)
"""Expiries less than this apart count as equal, because Redis keeps whole milliseconds."""

_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


class OnConflict(Enum):
    """What happens to a record whose key has a live entry in the target."""

    REPORT = auto()
    """Leave the entry. An equal one counts as unchanged; a different one is reported."""

    SKIP = auto()
    """Leave the entry, whatever it is."""

    OVERWRITE = auto()
    """Overwrite the entry."""


class Record(NamedTuple):
    """One entry on its way: its key without PREFIX and, if it was read from a file, its line."""

    key: str
    value: bytes
    expires_at: datetime | None
    line: int | None = None

    @property
    def label(self) -> str:
        """How messages name this record: by line and key, never by value."""
        key = repr(self.key) if len(self.key) <= MAX_LENGTH else f"{self.key[:80]!r}..."
        return key if self.line is None else f"Line {self.line}, {key}"


@dataclass
class Tally:
    """What happened to the records so far. Every record that was read is in exactly one count."""

    report: Callable[[str], None]
    """Called with a message for each record that is left out without having been asked to."""

    stored: int = 0
    unchanged: int = 0
    """The target already had the same value and expiry."""
    skipped: int = 0
    """The target had an entry, and OnConflict.SKIP left it."""
    differing: int = 0
    """The target had another value or expiry, and OnConflict.REPORT left it."""
    expired: int = 0
    """The record expired before it could be stored."""
    refused: int = 0
    """It is not a valid record, or the target can't store it."""
    uncertain: int = 0
    """If the last batch was interrupted: how many of its records may or may not be stored."""
    fault: str | None = None
    """What is wrong with the source as a whole, or None."""

    def refuse(self, message: str) -> None:
        self.refused += 1
        self.report(message)


def read(keyspace: Keyspace, prefix: str = "") -> Iterator[Record]:
    """Yield the live entries whose keys begin with `prefix`, without decoding the values."""
    for full, stored in keyspace.driver.items(keyspace.full_prefix(prefix)):
        yield Record(keyspace.strip(full), to_bytes(stored.value), stored.expires_at)


def to_bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def one_line(text: bytes) -> bytes:
    """Return JSON text with its line breaks, which JSON has only between tokens, made spaces."""
    return text.translate(_LINE_BREAKS)


class Transfer:
    """Stores records in `target` and counts them in `tally`.

    With `dry_run` nothing is written: records that would be stored count as stored.
    """

    def __init__(
        self, target: Keyspace, tally: Tally, on_conflict: OnConflict, *, dry_run: bool = False
    ) -> None:
        self.target = target
        self.tally = tally
        self.on_conflict = on_conflict
        self.dry_run = dry_run

    def run(self, records: Iterable[Record]) -> Iterator[None]:
        """Store the records batch by batch, and yield after each batch.

        Raises StoreUnavailableError and ContentionError; `tally` then has what was done before.
        """
        for batch in self._batches(records):
            live = self._drop_expired(batch)
            if self.dry_run:
                self._count_dry_run(live)
            else:
                self._write(live)
            yield

    def _batches(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """Group the valid records into batches in which every key occurs once."""
        batch: dict[str, Record] = {}
        size = 0
        for record in records:
            valid = self._validate(record)
            if valid is None:
                continue
            is_full = len(batch) == BATCH_ENTRIES or size + len(valid.value) > BATCH_BYTES
            # A key that occurs again starts a new batch, so that it meets the entry stored before.
            if batch and (is_full or valid.key in batch):
                yield list(batch.values())
                batch, size = {}, 0
            batch[valid.key] = valid
            size += len(valid.value)
        if batch:
            yield list(batch.values())

    def _validate(self, record: Record) -> Record | None:
        """Return the record with its expiry in UTC, or None if the target would refuse it."""
        try:
            self.target.full(record.key)
            text = self.target.encode(codec.decode(record.value, key=record.key))
            self.target.check_size(len(record.value))
            expires_at = parse(record.expires_at)
        except DecodeError:
            self.tally.refuse(f"{record.label}: the value is not JSON that can be read.")
            return None
        except (InvalidKeyError, EncodeError, InvalidExpiryError) as error:
            self.tally.refuse(f"{record.label}: {error}")
            return None
        # Most files have the texts that a store writes, which need not be searched.
        is_foreign = record.line is not None and text != record.value
        if is_foreign and codec.has_repeated_names(record.value):
            self.tally.refuse(f"{record.label}: an object in the value has a name twice.")
            return None
        assert not isinstance(expires_at, timedelta)
        return record._replace(expires_at=expires_at)

    def _drop_expired(self, batch: list[Record]) -> list[Record]:
        """Count the records that have expired by the target's clock; return the others."""
        if all(record.expires_at is None for record in batch):
            return batch
        clock = self.target.driver.clock()
        live = [r for r in batch if r.expires_at is None or r.expires_at > clock]
        self.tally.expired += len(batch) - len(live)
        return live

    def _write(self, batch: Sequence[Record]) -> None:
        """Store a batch. If that is interrupted, `tally.uncertain` says for how many records."""
        self.tally.uncertain = len(batch)
        try:
            self._store_or_split(batch)
        except (StoreUnavailableError, ContentionError) as error:
            if not getattr(error, "maybe_applied", False):
                self.tally.uncertain = 0
            raise

    def _store_or_split(self, batch: Sequence[Record]) -> None:
        """Store a batch. If one of its records can't be stored, store the others."""
        try:
            existing = self._store(batch)
        except (InvalidExpiryError, ValueTooLargeError) as error:
            # One record has expired since, or is too large for the server, and nothing was stored.
            # Halving the batch finds it.
            if len(batch) > 1:
                half = len(batch) // 2
                self._store_or_split(batch[:half])
                self._store_or_split(batch[half:])
                return
            existing = []
            if isinstance(error, InvalidExpiryError):
                self.tally.expired += 1
            else:
                self.tally.refuse(f"{batch[0].label}: {error}")
        else:
            self.tally.stored += len(batch) - len(existing)
        self.tally.uncertain -= len(batch) - len(existing)
        if existing:
            self._resolve(existing)
            self.tally.uncertain -= len(existing)

    def _store(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Store what `on_conflict` allows; return the records whose keys have a live entry."""
        driver, prefix = self.target.driver, self.target.prefix
        writes: list[Write] = [(prefix + r.key, r.value, r.expires_at) for r in batch]
        if self.on_conflict is OnConflict.OVERWRITE:
            driver.set_many(writes)
            return []
        existing = set(driver.create_many(writes))
        return [record for record in batch if prefix + record.key in existing]

    def _resolve(self, existing: Sequence[Record]) -> None:
        """Count the records whose keys have a live entry. If that is gone by now, store them."""
        if self.on_conflict is OnConflict.SKIP:
            self.tally.skipped += len(existing)
            return
        for _ in range(TRIES):
            absent = self._compare(existing)
            if not absent:
                return
            existing = self._store(absent)
            self.tally.stored += len(absent) - len(existing)
        for record in existing:
            self._report_different(record)

    def _count_dry_run(self, batch: Sequence[Record]) -> None:
        """Count what storing the batch would do."""
        tally, on_conflict = self.tally, self.on_conflict
        if on_conflict is OnConflict.REPORT:
            tally.stored += len(self._compare(batch))
            return
        found = self._find(batch)
        for record in batch:
            stored = found.get(record.key)
            if stored is None:
                tally.stored += 1
            elif on_conflict is OnConflict.SKIP:
                tally.skipped += 1
            elif _are_equal(record, stored):
                tally.unchanged += 1
            else:
                tally.stored += 1

    def _compare(self, batch: Sequence[Record]) -> list[Record]:
        """Count the records that the target has, equal or not; return those it doesn't have."""
        found = self._find(batch)
        absent = []
        for record in batch:
            stored = found.get(record.key)
            if stored is None:
                absent.append(record)
            elif _are_equal(record, stored):
                self.tally.unchanged += 1
            else:
                self._report_different(record)
        return absent

    def _find(self, batch: Sequence[Record]) -> dict[str, Stored]:
        """Return the target's live entries for the keys of a batch."""
        prefix, strip = self.target.prefix, self.target.strip
        found = self.target.driver.get_items([prefix + record.key for record in batch])
        return {strip(full): stored for full, stored in found.items()}

    def _report_different(self, record: Record) -> None:
        self.tally.differing += 1
        self.tally.report(f"{record.label}: the store has a different entry, which was kept.")


def _stripped(text: bytes) -> bytes:
    # An export has no spaces around a value. Values that something else has stored may.
    return one_line(text).strip()


def _are_equal(record: Record, stored: Stored) -> bool:
    if _stripped(record.value) != _stripped(to_bytes(stored.value)):
        return False
    if record.expires_at is None or stored.expires_at is None:
        return record.expires_at is stored.expires_at
    return abs(record.expires_at - stored.expires_at) < PRECISION
