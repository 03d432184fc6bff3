"""Where a machine's store is: on which server, by which clock, and beside which neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.clock import elapse
from tests.machine.expires import (
    APART_BY_50_SECONDS,
    DAY,
    NEVER,
    TO_THE_MICROSECOND,
    Expires,
    Times,
)

if TYPE_CHECKING:
    from time_machine import Traveller

PREFIX: Final = "a_*[b]%:"
"""Of the store: as SQL or SCAN may take it, it would begin the keys of some neighbours too."""

DEFAULT_EXPIRES: Final = Expires(timedelta(days=2, seconds=50), 2 * DAY + 50_000_000)

_LONG: Final = Expires(timedelta(days=300_000), 300_000 * DAY)

NEIGHBOURS: Final[dict[str, tuple[Any, Expires]]] = {
    "a_*[b]%": ("a key that is nearly the prefix", NEVER),
    "a_*[b]%;": (1, _LONG),
    "a_*[b]%;a": ({"n": [1]}, NEVER),
    "A_*[B]%:a": ("another case", _LONG),
    "ab*[b]%:a": ("as SQL takes _", NEVER),
    "a_xb%:a": ("as SCAN takes it", NEVER),
    "a_*[b]xx:a": ("as SQL takes %", _LONG),
    "a": (2, NEVER),
    "n:a": (3, NEVER),
    ":": (4, _LONG),
}
"""Entries of others in the same place, which no call of the store may touch."""


START: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""Where our own clock stands when a machine begins."""


@dataclass
class Place:
    """A store, and another one beneath it that sees all that is kept there."""

    store: Store
    lasting: Store
    """The same, but with no DEFAULT_EXPIRES."""

    beneath: Store
    clock: Traveller | None
    """Our own, which stands still between two moves; None where a server's goes on."""

    @property
    def exact(self) -> bool:
        """Whether it is known to the microsecond when an entry ends."""
        return self.clock is not None

    @property
    def times(self) -> Times:
        return TO_THE_MICROSECOND if self.exact else APART_BY_50_SECONDS

    def begin(self) -> None:
        """Delete everything, and set the clock."""
        if self.clock is not None:
            self.clock.move_to(START)
        self.beneath.purge()
        self.beneath.clear()

    def elapse(self, span: timedelta) -> None:
        elapse(self.store, span, self.clock)

    # What is not promised to the last.

    def listed(self, keys: Iterable[str]) -> list[str]:
        """Return the keys in order: each once where a listing may tell one twice."""
        return sorted(keys) if self.exact else sorted(set(keys))

    def counted(self, store: Store, prefix: str) -> int:
        """Return how many keys there are: each counted once."""
        number = store.count(prefix)
        if self.exact:
            return number
        keys = list(store.keys(prefix))
        return len(set(keys)) if len(set(keys)) <= number <= len(keys) else number

    def may_purge(self, purged: int, expired: int) -> bool:
        """Return whether a purge may have deleted so many of those that had expired."""
        if isinstance(self.store.driver, DatabaseDriver):
            return purged == expired
        # The others give back some, or all, before they are asked.
        return purged <= (expired if self.exact else 0)
