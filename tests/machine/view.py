"""The calls of the model: what each must return or refuse, and what it must leave."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final

from django_persist import DEFAULT, KEEP
from django_persist.exceptions import (
    CounterRangeError,
    DecodeError,
    DuplicateKeyError,
    EncodeError,
    InvalidKeyError,
    MissingKeyError,
)
from tests.machine.expires import Expires
from tests.machine.model import ABSENT, Entry, Model, RefusedError, Window, read
from tests.machine.samples import INVALID_PREFIXES, LONGEST, UNKNOWN, Name, Sample, json_sample
from tests.machine.shelves import ShelfChange, is_shelf, updated, upgrade

COUNTS: Final = (None, Any, int, int | None, str | int)
"""The types of Keys under which any counter can be read."""

COUNTER: Final = range(-(2**63), 2**63)


class ChangeKind(Enum):
    """What the function that `update` gets does."""

    REPLACE = "returns another value"
    CHANGE = "changes what it got, and returns it"
    REMOVE = "returns REMOVE"
    FORGET = "changes what it got, and returns None"
    RAISE = "raises"


class BoomError(Exception):
    """What a function that `update` gets may raise."""


def changed(value: Any) -> Any:
    """Change a list or a dict; return it."""
    if isinstance(value, list):
        value.append("changed")
    elif isinstance(value, dict):
        value["changed"] = [1]
    return value


def _written(sample: Sample, form: Any) -> Any:
    """Return how a new value reads back, or ABSENT if it isn't of the type `form`."""
    value = read(sample, form)
    # A large int may be no float.
    return ABSENT if form is float and value != sample.plain else value


class View:
    """The part of the model that belongs to one store: the keys with its prefix."""

    def __init__(self, model: Model, prefix: str, namespace: str, default: Expires) -> None:
        self.model = model
        self.prefix = prefix
        self.namespace = namespace
        self.default = default

    # Arguments.

    def key(self, name: Name) -> str:
        return self.prefix + self.namespace + name.text

    def form_of(self, name: Name) -> Any:
        """Return the type that the entry was stored as, or None if it isn't known."""
        entry = self.model.entries.get(self.key(name))
        return entry and entry.sample.form

    def _check(
        self, *given: Name | Sample | Expires, writes: Sequence[tuple[Name, Sample]] = ()
    ) -> None:
        """Refuse invalid arguments, and values that are not of the types of their Keys.

        Of several errors the store may raise any.
        """
        errors = [each.error for each in given if each.error]
        valid = [(sample, name.form) for name, sample in writes if sample.error is None]
        if any(_written(sample, form) is ABSENT for sample, form in valid):
            errors.append(EncodeError)
        names = [each.text for each in given if isinstance(each, Name) and each.error is None]
        if any(len(self.namespace + name) > LONGEST for name in names):
            errors.append(InvalidKeyError)
        if errors:
            raise RefusedError(*errors)

    def _entry(self, name: Name) -> Entry | None:
        entry = self.model.entries.get(self.key(name))
        return entry if entry and self.model.is_live(entry) else None

    def _end(self, name: Name, expires: Expires) -> Window | None:
        if expires.arg is DEFAULT or expires.arg is KEEP:
            own = name.expires
            expires = self.default if own is None or own.arg is DEFAULT else own
        return self.model.end(expires)

    def _put(self, name: Name, sample: Sample, end: Window | None) -> None:
        self.model.entries[self.key(name)] = Entry(sample, end)

    def _under(self, prefix: Any) -> dict[str, Entry]:
        if prefix in INVALID_PREFIXES:
            raise RefusedError(INVALID_PREFIXES[prefix])
        mine = self.prefix + self.namespace
        return {
            key[len(mine) :]: entry
            for key, entry in self.model.live().items()
            if key.startswith(mine + prefix)
        }

    # The calls.

    def create(self, name: Name, sample: Sample, expires: Expires) -> None:
        self._check(name, sample, expires, writes=[(name, sample)])
        end = self._end(name, expires)
        if self._entry(name):
            raise RefusedError(DuplicateKeyError)
        self._put(name, sample, end)

    def set(self, name: Name, sample: Sample, expires: Expires) -> None:
        self.set_many([(name, sample)], expires)

    def set_many(self, writes: Sequence[tuple[Name, Sample]], expires: Expires) -> None:
        names, samples = [name for name, _ in writes], [sample for _, sample in writes]
        self._check(expires, *names, *samples, writes=writes)
        kept = [self._entry(name) if expires.arg is KEEP else None for name, _ in writes]
        ends = [self._end(name, expires) for name, _ in writes]
        for (name, sample), old, end in zip(writes, kept, ends, strict=True):
            self._put(name, sample, old.end if old else end)

    def get(self, name: Name, form: Any, *, strict: bool) -> Any:
        """Return the value, or ABSENT."""
        self._check(name)
        if form is None:
            form = name.form
        if form is UNKNOWN:
            raise RefusedError(TypeError)
        entry = self._entry(name)
        if entry is None:
            return ABSENT
        value = read(entry.sample, form)
        if value is ABSENT and strict:
            raise RefusedError(DecodeError)
        return value

    def get_many(self, names: Sequence[Name], form: Any, *, strict: bool) -> dict[Any, Any]:
        for name in names:
            self._check(name)
        found = {name.arg: self.get(name, form, strict=strict) for name in names}
        return {arg: value for arg, value in found.items() if value is not ABSENT}

    def pop(self, name: Name, form: Any, *, strict: bool) -> Any:
        value = self.get(name, form, strict=strict)
        if value is not ABSENT:
            del self.model.entries[self.key(name)]
        return value

    def contains(self, name: Name) -> bool:
        self._check(name)
        return self._entry(name) is not None

    def remove(self, name: Name) -> bool:
        return self.remove_many([name]) == 1

    def remove_many(self, names: Sequence[Name]) -> int:
        for name in names:
            self._check(name)
        live = {self.key(name) for name in names if self._entry(name)}
        for key in live:
            del self.model.entries[key]
        return len(live)

    def live_entry(self, name: Name) -> Entry | None:
        return self._entry(name)

    def create_many(self, writes: Sequence[tuple[Name, Sample]], expires: Expires) -> list[Any]:
        names, samples = [name for name, _ in writes], [sample for _, sample in writes]
        self._check(expires, *names, *samples, writes=writes)
        ends = [self._end(name, expires) for name, _ in writes]
        existing = []
        for (name, sample), end in zip(writes, ends, strict=True):
            if self._entry(name):
                existing.append(name.arg)
            else:
                self._put(name, sample, end)
        return existing

    def _has_version(self, name: Name, plain: Any) -> bool:
        """Return whether the live entry has the text of this plain JSON, key order included."""
        entry = self._entry(name)
        return entry is not None and repr(entry.sample.plain) == repr(plain)

    def replace(self, name: Name, sample: Sample, plain: Any, expires: Expires) -> bool:
        self._check(name, sample, expires, writes=[(name, sample)])
        entry = self._entry(name)
        if entry is None or not self._has_version(name, plain):
            # The entry may be gone, and no moment is refused then.
            return False
        self._put(name, sample, entry.end if expires.arg is KEEP else self._end(name, expires))
        return True

    def remove_version(self, name: Name, plain: Any) -> bool:
        self._check(name)
        return self._has_version(name, plain) and self.remove(name)

    def touch(self, name: Name, expires: Expires) -> bool:
        self._check(name, expires)
        end = self._end(name, expires)
        entry = self._entry(name)
        if entry:
            entry.end = end
        return entry is not None

    def update(
        self,
        name: Name,
        kind: ChangeKind,
        new: Sample,
        default: Sample | None,
        form: Any,
        expires: Expires,
    ) -> tuple[Any, Any]:
        """Return what the call returns, and what the function was given."""
        self._check(name, expires)
        if form is None:
            form = name.form
        entry = self._entry(name)
        if entry:
            old = self._read(entry.sample, form)
        elif default is None:
            raise RefusedError(MissingKeyError)
        else:
            old = self._made(default, form)
        if kind is ChangeKind.RAISE:
            raise RefusedError(BoomError)
        if kind is ChangeKind.REMOVE:
            if entry:
                del self.model.entries[self.key(name)]
            return None, old
        if kind is ChangeKind.FORGET:
            new = json_sample(None)
        elif kind is ChangeKind.CHANGE:
            new = json_sample(changed(copy.deepcopy(old)))
        if new.value is None and old is not None:
            raise RefusedError(TypeError)
        result = self._made(new, form)
        end = entry.end if entry and expires.arg is KEEP else self._end(name, expires)
        self._put(name, new, end)
        return result, old

    def update_shelf(self, name: Name, change: ShelfChange, cls: Any, *, upgraded: bool) -> Any:
        """Return what an update through a class returns, by which the entry may be a shelf."""
        self._check(name)
        entry = self._entry(name)
        if entry is None:
            raise RefusedError(MissingKeyError)
        json = copy.deepcopy(entry.sample.plain)
        if upgraded and not is_shelf(json) and isinstance(json, dict) and "n" in json:
            json = upgrade(json)
        if not is_shelf(json):
            raise RefusedError(DecodeError)
        if change is ShelfChange.REMOVE:
            del self.model.entries[self.key(name)]
            return None
        try:
            sample = json_sample(updated(json, change, cls))
        except DecodeError as error:
            raise RefusedError(DecodeError) from error
        self._put(name, sample, entry.end)
        return read(sample, cls)

    def get_or_create(
        self, name: Name, default: Sample, form: Any, expires: Expires
    ) -> tuple[Any, bool]:
        self._check(name, expires)
        if form is None:
            form = name.form
        entry = self._entry(name)
        if entry:
            return self._read(entry.sample, form), False
        value = self._made(default, form)
        self._put(name, default, self._end(name, expires))
        return value, True

    def incr(self, name: Name, by: Any, expires: Expires, low: Any, high: Any) -> int:
        if type(by) is not int:
            raise RefusedError(TypeError)
        low = COUNTER[0] if low is None else max(low, COUNTER[0])
        high = COUNTER[-1] if high is None else min(high, COUNTER[-1])
        try:
            self._check(name, expires)
        except RefusedError as refused:
            errors = (*refused.errors, ValueError, EncodeError)
            raise RefusedError(*errors, CounterRangeError) from refused
        if low > high:
            raise RefusedError(ValueError)
        if name.form not in COUNTS:
            raise RefusedError(EncodeError)
        if by not in COUNTER:
            raise RefusedError(CounterRangeError)
        end = self._end(name, expires)
        entry = self._entry(name)
        total = by
        if entry:
            if type(entry.sample.plain) is not int:
                raise RefusedError(DecodeError)
            total, end = entry.sample.plain + by, entry.end
            if entry.sample.plain not in COUNTER:
                raise RefusedError(CounterRangeError)
        if not low <= total <= high:
            raise RefusedError(CounterRangeError)
        self._put(name, Sample(total, total, int), end)
        return total

    def items(self, prefix: Any) -> Iterator[tuple[str, Entry]]:
        yield from self._under(prefix).items()

    def keys(self, prefix: Any) -> list[str]:
        return sorted(self._under(prefix))

    def count(self, prefix: Any) -> int:
        return len(self._under(prefix))

    def clear(self, prefix: Any) -> int:
        found = self._under(prefix)
        for key in found:
            del self.model.entries[self.prefix + self.namespace + key]
        return len(found)

    # How a call reads a value.

    def _read(self, sample: Sample, form: Any) -> Any:
        value = read(sample, form)
        if value is ABSENT:
            raise RefusedError(DecodeError)
        return value

    def _made(self, sample: Sample, form: Any) -> Any:
        """Return how a new value reads back; refuse one that is invalid or of another type."""
        if sample.error:
            raise RefusedError(sample.error)
        value = _written(sample, form)
        if value is ABSENT:
            raise RefusedError(EncodeError)
        return value
