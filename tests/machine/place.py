"""Where the machine's store keeps its entries: the server, its clock, and the neighbours."""

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
"""The PREFIX of the store. As a pattern of SQL or SCAN it matches keys of some neighbours too."""

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
"""Entries of other stores in the same place, which no call may change."""


START: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""The application's clock when a machine begins."""


@dataclass
class Place:
    """The machine's store, and a store without PREFIX that sees all entries in the place."""

    store: Store
    lasting: Store
    """The same store without DEFAULT_EXPIRES."""

    beneath: Store
    clock: Traveller | None
    """The application's clock, which moves only when a test moves it; None for a server's clock."""

    @property
    def exact(self) -> bool:
        """Whether the moment at which an entry expires is known to the microsecond."""
        return self.clock is not None

    @property
    def times(self) -> Times:
        return TO_THE_MICROSECOND if self.exact else APART_BY_50_SECONDS

    def begin(self) -> None:
        """Delete everything and set the clock to START."""
        if self.clock is not None:
            self.clock.move_to(START)
        self.beneath.purge()
        self.beneath.clear()

    def elapse(self, span: timedelta) -> None:
        elapse(self.store, span, self.clock)

    # What is promised with some leeway.

    def listed(self, keys: Iterable[str]) -> list[str]:
        """Return the keys in order, without the duplicates that a driver may list."""
        return sorted(keys) if self.exact else sorted(set(keys))

    def counted(self, store: Store, prefix: str) -> int:
        """Return how many keys there are, without the duplicates that a driver may count."""
        number = store.count(prefix)
        if self.exact:
            return number
        keys = list(store.keys(prefix))
        return len(set(keys)) if len(set(keys)) <= number <= len(keys) else number

    def may_purge(self, purged: int, expired: int) -> bool:
        """Return whether a purge may delete `purged` entries when `expired` had expired."""
        if isinstance(self.store.driver, DatabaseDriver):
            return purged == expired
        # The other drivers delete some, or all, before a purge.
        return purged <= (expired if self.exact else 0)
