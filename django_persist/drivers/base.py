"""The narrow side of a store: the few primitives in which drivers differ.

A driver gets checked, complete keys (PREFIX and namespaces included) and values as JSON text in
UTF-8. It never looks into a value, but for `incr`, which takes canonical decimal integers.
For every primitive an entry that has expired is the same as none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from django.core.checks import CheckMessage

from ..expiry import Expiry, expires_at_micros, from_micros, now

Text: TypeAlias = str | bytes
"""A stored value as the server hands it out: JSON text, decoded from UTF-8 or not."""


COUNTER: Final = range(-(2**63), 2**63)
"""What `incr` counts in: the signed integers of 64 bits, as Redis's INCRBY does."""

LEAST: Final = COUNTER[0]
MOST: Final = COUNTER[-1]
"""Its bounds: to compare with both is quicker than to look into a range."""


Write: TypeAlias = tuple[str, bytes, Expiry]
"""One of many entries to be written: its key, its value as JSON text in UTF-8, and its expiry."""


def distinct_expires_at(writes: Iterable[Write], start: int) -> dict[Expiry, int | None]:
    """Return `expires_at_micros` of each different expiry: most writes share one."""
    distinct = set(map(itemgetter(2), writes))
    return {expires: expires_at_micros(expires, start) for expires in distinct}


class Stored(NamedTuple):
    """An entry's text, and the aware UTC moment at which it ends, or None for never."""

    value: Text
    expires_at: datetime | None


class Place(NamedTuple):
    """Where a driver keeps its entries: what it shares with no other, and its own prefix there."""

    location: Hashable
    prefix: str = ""


class Driver(ABC):
    """What a store needs of the thing that keeps its entries.

    Every primitive is atomic and thread-safe. A moment of expiry that isn't in the future by the
    clock that the driver goes by raises InvalidExpiryError, and nothing is written. A server that
    can't be reached, or that refuses for its own state, raises StoreUnavailableError; losing
    against other writers raises ContentionError.
    """

    supports_atomic_set_many: bool = True
    """Whether `set_many` is all or nothing: on a Redis Cluster it is so within a slot only."""

    supports_exact_listings: bool = True
    """Whether a listing has each key once: on Redis one may come twice while tables are resized."""

    # One key.

    @abstractmethod
    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        """Store where no live entry is; return whether it did."""

    @abstractmethod
    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        """Store over whatever is there. With `keep` a live entry's expiry stays as it is."""

    @abstractmethod
    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        """Return the live entry's text, or None.

        With `for_update` it is the text that a write would meet now, even where the caller's
        transaction reads from an older snapshot: so that a read-compare-write loop ends.
        """

    @abstractmethod
    def get_item(self, key: str) -> Stored | None:
        """Return the live entry's text with the moment at which it ends, or None."""

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
    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        """Add `by` to the live entry's integer, or start at `by` with `expires`; return the sum.

        None says that nothing was changed: the text isn't a canonical integer of 64 bits, the sum
        would leave that range, or `by` is 0 and the driver can't tell.
        """

    # Compare and swap: `seen` is a text that `get` returned.

    @abstractmethod
    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        """Store over the live entry if its text is still `seen`; return whether it was."""

    @abstractmethod
    def remove_if(self, key: str, seen: Text) -> bool:
        """Delete the live entry if its text is still `seen`; return whether it was."""

    # Many keys: none stands twice in a call that writes.

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Sequence[tuple[str, Text]]:
        """Return the live entries among `keys` with their texts, in any order."""

    @abstractmethod
    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        """Store all of `writes`, or none of them. With `keep` live entries keep their expiry."""

    @abstractmethod
    def remove_many(self, keys: Sequence[str]) -> int:
        """Delete the live entries among `keys`; return how many there were."""

    # Many entries with their expiries, on the way from one store to another.

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Return the live entries among `keys`."""
        found = ((key, self.get_item(key)) for key in keys)
        return {key: stored for key, stored in found if stored is not None}

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        """Store those of `writes` whose keys have no live entry; return the keys of the others.

        Each is stored as `create` does: a live entry stays as it is, whoever made it, and when.
        """
        return [key for key, value, expires in writes if not self.create(key, value, expires)]

    def clock(self) -> datetime:
        """Return the moment that it is, in UTC, by the clock that ends the entries.

        Where several servers have one each it is the moment that has come on all of them.
        """
        return from_micros(now())

    # The whole store: lazily, in bounded memory, safe while others write.

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
        """Delete what has expired, in batches; yield how many entries each deleted.

        The first is of `batch_size` at most, later ones of as many as are soon deleted: `batches`.
        A driver whose server gives expired entries back by itself yields nothing.
        """
        return iter(())

    def expired(self) -> int:
        """Return how many expired entries `purge` would now delete."""
        return 0

    def size(self) -> int | None:
        """Return how many bytes all that is kept there takes, or None where that is costly."""
        return None

    # Settings.

    def in_transaction(self) -> bool:
        """Return whether a write would stand only once a transaction of the caller's does."""
        return False

    def close(self) -> None:  # noqa: B027 (most have none)
        """Close the connections that are the driver's own; the next call opens one again."""

    @abstractmethod
    def place(self) -> Place:
        """Return where the entries are kept, without I/O."""

    # What Django's system check framework should say of it.

    def check(self) -> Iterable[CheckMessage]:
        """Return what the settings tell, without I/O."""
        return ()

    def check_databases(self, databases: Collection[str]) -> Iterable[CheckMessage]:
        """Return what the servers of these aliases of DATABASES tell: those alone may be asked."""
        return ()

    def check_deployment(self) -> Iterable[CheckMessage]:
        """Return what makes it unfit for a site that others use (`manage.py check --deploy`).

        The server may be asked. One that can't be reached is no reason to fail: nothing is said.
        """
        return ()
