"""What the statements of all databases have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from ....models import Entry
from ...base import Write, distinct_expires_at
from ..connection import Connection
from ..direct import Executed
from .rows import CHUNK_BYTES, Batch, chunks_of_bytes


class Purged(NamedTuple):
    """What one batch of a purge did."""

    deleted: int
    reached: tuple[int, str] | None
    """The expiry and the key after which the next batch starts; None if nothing is left."""


class Statements(ABC):
    """The SQL of a database, and how to send and read what differs between databases.

    Each statement is a template in a class attribute, and its text in the attribute of an instance.
    The slots of a template are:

    - `{t} {k} {v} {e}`: the quoted names of the table and its columns
    - those of `slots`

    The parameters have the same names in all statements: `value` and `start` (the text of a new
    counter) are text; `expires` and `now` are microseconds, and `expires` may be NULL; `seen` is a
    text that a read returned; `by` can be added to the integers from `low` to `high`. `advance`
    moves a time by `by` if it is not after `latest`.
    """

    slots: Mapping[str, str] = {
        # An entry has not expired. Written so that the planner can't use the expires_at index, and
        # can't estimate how many entries that are. While PostgreSQL has no statistics of the table,
        # it would read all of that index to find a few keys. Where old statistics say that almost
        # all have expired, it would read and sort the rest of the table for each page of a listing.
        "live": "COALESCE({e} > %(now)s, TRUE)",
        # How a value is read.
        "text": "{v}",
    }

    # One key.

    get = "SELECT {text}, {e} FROM {t} WHERE {k} = %(key)s"
    get_for_update: str
    contains = "SELECT {e} FROM {t} WHERE {k} = %(key)s"
    remove = "DELETE FROM {t} WHERE {k} = %(key)s AND {live}"
    remove_if = "DELETE FROM {t} WHERE {k} = %(key)s AND {live} AND {text} = %(seen)s"
    touch = "UPDATE {t} SET {e} = %(expires)s WHERE {k} = %(key)s AND {live}"
    replace = """
        UPDATE {t} SET {v} = %(value)s, {e} = %(expires)s
        WHERE {k} = %(key)s AND {live} AND {text} = %(seen)s
    """
    replace_keep = """
        UPDATE {t} SET {v} = %(value)s
        WHERE {k} = %(key)s AND {live} AND {text} = %(seen)s
    """

    # A duplicate is no failing statement: the upsert changes nothing, which `created` and `counted`
    # see. So the caller's transaction stays usable.
    create: str
    set: str
    set_keep: str
    incr: str
    incr_live: str
    """Counts only if there is a live entry."""
    advance: str

    # Many keys.

    set_rows: str
    set_rows_keep: str
    create_rows: str
    get_many: str
    get_items: str
    remove_many: str

    # The whole table. Each page starts where the last one ended: the primary key is its index.

    keys: str
    keys_next: str
    items: str
    items_next: str
    count = """
        SELECT COUNT(*) FROM {t} WHERE {k} >= %(first)s AND {k} < %(end)s AND {live}
    """
    expired = "SELECT COUNT(*) FROM {t} WHERE {e} <= %(now)s"
    purge: str
    size: str | None
    """Asks for the bytes that the table takes; None if the database can't answer at once."""

    incr_constants: Mapping[str, str] = {}
    """The parameters of `incr` and `incr_live` that are the same in every call."""

    advance_constants: Mapping[str, Any] = {}
    """The parameters of `advance` that are the same in every call."""

    incr_returns_expiry = True
    """Whether `incr` returns a row: the sum, and the microsecond at which the counter expires."""

    creates_in_one_statement = True
    """Whether `create_many` sends one statement for each batch."""

    excludes_writers: bool
    """Whether one writer at a time has the whole database."""

    def __init__(self, connection: Connection, cursor: CursorWrapper) -> None:
        self.connection = connection
        quote = cursor.db.ops.quote_name
        names = {
            "t": quote(Entry._meta.db_table),
            "k": quote("key"),
            "v": quote("value"),
            "e": quote("expires_at"),
        }
        names |= {name: slot.format(**names) for name, slot in self.slots.items()}
        for name in dir(type(self)):
            template = getattr(type(self), name)  # on the class, where no property runs
            if isinstance(template, str) and not name.startswith("_"):
                # One line, as logs and the debug toolbar show it.
                setattr(self, name, " ".join(template.format(**names).split()))

    @property
    def packet(self) -> int | None:
        """The most bytes that the server accepts in one statement; None if it has no limit."""
        return None

    def batches(self, writes: Sequence[Write], now: int) -> list[Batch]:
        """Cut writes into batches for one statement each, in the order in which to send them.

        Raises ValueTooLargeError for rows that the server can't accept in one statement.
        """
        # In key order, so that two calls never wait for each other in a circle.
        in_order = sorted(writes, key=itemgetter(0))
        expires_at = distinct_expires_at(writes, now)
        max_bytes = CHUNK_BYTES if self.packet is None else min(CHUNK_BYTES, self.packet // 4)
        return [Batch(chunk, expires_at, now) for chunk in chunks_of_bytes(in_order, max_bytes)]

    @abstractmethod
    def set_many(self, cursor: CursorWrapper, batch: Batch, *, keep: bool = False) -> None:
        """Store a batch. With `keep` live entries keep their expiry."""

    @abstractmethod
    def create_many(self, cursor: CursorWrapper, batch: Batch) -> list[str]:
        """Store the writes whose keys have no live entry; return the keys of the others."""

    @abstractmethod
    def keys_parameter(self, keys: Sequence[str]) -> Any:
        """Return keys as the parameter `keys` of a statement."""

    def created(self, executed: Executed) -> bool:
        """Return whether `create` has stored the entry."""
        return bool(executed.rowcount)

    def counted(self, executed: Executed, by: int) -> int | None:
        """Return the sum that `incr` has stored, or None if it has stored nothing."""
        return self.counted_live(executed)

    def counted_live(self, executed: Executed) -> int | None:
        """Return the sum that `incr_live` has stored, or None if it has stored nothing."""
        rows = list(executed)
        return int(rows[0][0]) if rows else None

    def advanced(self, executed: Executed, start: int) -> tuple[bool, int] | None:
        """Return whether `advance` has moved the time, and the time; None if it isn't one.

        `start` is the time of a new entry. A time that was not moved expires one microsecond later
        than one that was: RETURNING shows the new row only, which would else be the same for both.
        """
        rows = list(executed)
        return (int(rows[0][0]) == rows[0][1], int(rows[0][0])) if rows else None

    @abstractmethod
    def purge_batch(
        self, cursor: CursorWrapper, now: int, limit: int, reached: tuple[int, str]
    ) -> Purged:
        """Delete up to `limit` entries that expired by `now`; start where the last batch ended."""

    @abstractmethod
    def check_packet(self, *texts: Any) -> None:
        """Raise ValueTooLargeError if the server can't accept the texts in one statement."""


def keys_not_returned(cursor: CursorWrapper, batch: Batch) -> list[str]:
    """Return the keys of a batch that the RETURNING of its statement has not named."""
    returned = {key for (key,) in cursor.fetchall()}
    return [key for key, _, _ in batch.writes if key not in returned]
