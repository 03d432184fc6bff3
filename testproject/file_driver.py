"""A complete driver, for a tool without a server. docs/how-to/write-a-driver.md shows it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, flock
from pathlib import Path

from django_persist.drivers.base import COUNTER, LEAST, MOST, Driver, Place, Stored, Text, Write
from django_persist.exceptions import InvalidStoreError, StoreUnavailableError
from django_persist.expiry import Expiry, expires_at_micros, from_micros, now

Entries = dict[str, tuple[str, int | None]]
"""By key: the text of the value, and the microsecond at which it expires, or None for never."""


class FileDriver(Driver):
    """Keeps entries in the file at `path`: each call reads the whole file, each write replaces it.

    A lock on a second file makes writers wait for each other, in threads and in processes. The next
    write drops expired entries, so there is nothing to purge.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).resolve()
        if not self.path.parent.is_dir():
            raise InvalidStoreError(
                f"{str(self.path.parent)!r} is not a folder.", hint="Create it, or correct `path`."
            )

    def place(self) -> Place:
        return Place(("file", str(self.path)))

    # The file.

    @contextmanager
    def _reading(self) -> Iterator[Entries]:
        """Yield the live entries."""
        with self._locked(LOCK_SH):
            yield self._load()

    @contextmanager
    def _writing(self) -> Iterator[Entries]:
        """Yield the live entries to be changed, and store them unless an error is raised."""
        with self._locked(LOCK_EX):
            entries = self._load()
            yield entries
            self._store(entries)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        try:
            lock = self.path.with_suffix(".lock").open("ab")
        except OSError as error:
            raise self._unavailable(error) from error
        with lock:
            flock(lock, how)  # Closing the file releases the lock.
            yield

    def _load(self) -> Entries:
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unavailable(error) from error
        current = now()
        return {
            key: (value, expires_at)
            for key, (value, expires_at) in json.loads(text).items()
            if expires_at is None or expires_at > current
        }

    def _store(self, entries: Entries) -> None:
        new = self.path.with_suffix(".new")
        try:
            with new.open("w", encoding="utf-8") as file:
                json.dump(entries, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)  # Atomic: readers find the old file or the new one.
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> StoreUnavailableError:
        return StoreUnavailableError(f"{str(self.path)!r} can't be used: {error.strerror}.")

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        with self._writing() as entries:
            new = value.decode(), expires_at_micros(expires, now())
            return entries.setdefault(key, new) is new

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        self.set_many([(key, value, expires)], keep=keep)

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        return dict(self.get_many([key])).get(key)

    def get_item(self, key: str) -> Stored | None:
        with self._reading() as entries:
            return _stored(*entries[key]) if key in entries else None

    def contains(self, key: str) -> bool:
        with self._reading() as entries:
            return key in entries

    def remove(self, key: str) -> bool:
        return self.remove_many([key]) == 1

    def touch(self, key: str, expires: Expiry) -> bool:
        with self._writing() as entries:
            expires_at = expires_at_micros(expires, now())
            if key in entries:
                entries[key] = entries[key][0], expires_at
            return key in entries

    def incr(
        self,
        key: str,
        by: int,
        expires: Expiry,
        *,
        at_least: int = LEAST,
        at_most: int = MOST,
    ) -> int | None:
        with self._writing() as entries:
            text, expires_at = entries.get(key, ("0", expires_at_micros(expires, now())))
            counter = _integer(text)
            if counter is None or not at_least <= counter + by <= at_most:
                return None
            entries[key] = str(counter + by), expires_at
            return counter + by

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        with self._writing() as entries:
            expires_at = expires_at_micros(expires, now())
            if key not in entries or entries[key][0] != seen:
                return False
            entries[key] = value.decode(), entries[key][1] if keep else expires_at
            return True

    def remove_if(self, key: str, seen: Text) -> bool:
        with self._writing() as entries:
            if key not in entries or entries[key][0] != seen:
                return False
            del entries[key]
            return True

    # Many keys.

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        with self._reading() as entries:
            return [(key, entries[key][0]) for key in keys if key in entries]

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        with self._writing() as entries:
            current = now()
            for key, value, expires in writes:
                expires_at = expires_at_micros(expires, current)
                if keep and key in entries:
                    expires_at = entries[key][1]
                entries[key] = value.decode(), expires_at

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        with self._writing() as entries:
            current = now()
            there = []
            for key, value, expires in writes:
                new = value.decode(), expires_at_micros(expires, current)
                if entries.setdefault(key, new) is not new:
                    there.append(key)
            return there

    def remove_many(self, keys: Sequence[str]) -> int:
        with self._writing() as entries:
            return sum(entries.pop(key, None) is not None for key in keys)

    # The whole store.

    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key, _ in self.items(prefix))

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        with self._reading() as entries:
            found = [(key, _stored(*e)) for key, e in entries.items() if key.startswith(prefix)]
        return iter(found)


def _stored(text: str, expires_at: int | None) -> Stored:
    return Stored(text, None if expires_at is None else from_micros(expires_at))


def _integer(text: str) -> int | None:
    """Return the integer of a canonical 64-bit one, or None for any other text."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or str(int(text)) != text:
        return None
    return int(text) if int(text) in COUNTER else None
