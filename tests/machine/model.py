"""What a store must behave like: one plain dictionary, with an expiry for each entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from django_persist.exceptions import InvalidExpiryError
from tests.machine.expires import SECOND, Expires
from tests.machine.samples import Sample

SLACK: Final = SECOND
"""How many microseconds a server's clock may differ from ours, rounding included."""


class Window(NamedTuple):
    """The earliest and the latest that a moment can be, in microseconds since 1970."""

    first: int
    last: int


@dataclass
class Entry:
    sample: Sample
    end: Window | None


class RefusedError(Exception):
    """The call must raise one of these errors and change nothing."""

    def __init__(self, *errors: type[Exception]) -> None:
        super().__init__(" or ".join(error.__name__ for error in errors))
        self.errors = errors


class Absent(Enum):
    ABSENT = "ABSENT"


ABSENT: Final = Absent.ABSENT


class Model:
    """All entries of one place, with expired ones until something deletes them."""

    def __init__(self, *, exact: bool) -> None:
        self.exact = exact
        self.entries: dict[str, Entry] = {}
        self.now = Window(0, 0)
        """When the current call was made."""

    def is_live(self, entry: Entry) -> bool:
        return entry.end is None or entry.end.first > self.now.first

    def live(self) -> dict[str, Entry]:
        return {key: entry for key, entry in self.entries.items() if self.is_live(entry)}

    def age(self, micros: int) -> None:
        """Make all entries expire earlier."""
        for entry in self.entries.values():
            if entry.end is not None:
                entry.end = Window(entry.end.first - micros, entry.end.last - micros)

    def purge(self) -> int:
        dead = self.entries.keys() - self.live().keys()
        for key in dead:
            del self.entries[key]
        return len(dead)

    def end(self, expires: Expires) -> Window | None:
        if expires.moment is not None:
            if expires.moment <= self.now.first:
                raise RefusedError(InvalidExpiryError)
            return Window(expires.moment - (0 if self.exact else SLACK), expires.moment)
        if expires.lifetime is None:
            return None
        slack = 0 if self.exact else SLACK
        first, last = self.now
        return Window(first + expires.lifetime - slack, last + expires.lifetime + slack)


def read(sample: Sample, form: Any) -> Any:
    """Return a stored value as the type `form`, or ABSENT if it isn't of that type."""
    if form is None or form is Any:
        return sample.plain
    if form == sample.form:
        # A SafeString comes back as a str.
        return sample.plain if form is str else sample.value
    try:
        return msgspec.json.decode(json.dumps(sample.plain), type=form, dec_hook=_dec_hook)
    except msgspec.ValidationError:
        return ABSENT


def _dec_hook(form: Any, value: Any) -> Any:
    return form.model_validate_json(json.dumps(value), strict=True)
