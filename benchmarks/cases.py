"""The measured operations: each prepares a batch of calls for a contender."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, NamedTuple

import msgspec

from .contenders import Contender

MANY = 200
"""The number of keys in one call of get_many and set_many."""

FILLED_AT_ONCE = 50
"""The baselines don't split a set_many, and MariaDB accepts this many of the largest values."""

Batch = Callable[[], None]


def value(size: int, edition: int) -> dict[str, Any]:
    """Return a realistic value of about `size` bytes as JSON; each edition is different."""
    line = {"sku": "TX-2203", "name": "Größe M, blau", "quantity": 2, "price": 19.9, "gift": False}
    made: dict[str, Any] = {"user": 4711, "edition": edition, "paid": False, "cart": [], "note": ""}
    room = size - len(msgspec.json.encode(made))
    length = len(msgspec.json.encode(line)) + 1
    made["cart"] = [line | {"sku": f"TX-{number:04}"} for number in range(room // length)]
    made["note"] = "x" * (room % length)
    return made


def _small_dict(number: int) -> dict[str, Any]:
    return {"sku": f"TX-{number:04}", "price": 19.9, "quantity": number % 9, "note": None}


def _line(number: int) -> dict[str, Any]:
    size = {"name": "M", "chest": 100}
    return {"sku": f"TX-{number:04}", "quantity": 2, "options": {"size": size, "gift": False}}


VALUES: dict[str, Any] = {
    "a small dict": value(100, 0),
    "a cart of nested dicts": {"user": 4711, "lines": [_line(n) for n in range(3)], "note": ""},
    "4 KB of small dicts with a None": [_small_dict(number) for number in range(70)],
    "100 KB of small dicts with a None": [_small_dict(number) for number in range(1750)],
    "1,000 floats": [number / 7 for number in range(1000)],
    "a long text": {"text": "Lorem ipsum " * 2250},
}
"""Values of the kinds that take different ways through our check that a value reads back."""


def change(old: dict[str, Any]) -> dict[str, Any]:
    """Change a value as `update` does."""
    old["edition"] += 1
    return old


@dataclass(frozen=True)
class Load:
    """The keys and the value that one thread works with."""

    prefix: str
    values: list[str]
    counters: list[str]
    absent: list[str]
    value: Any

    @classmethod
    def of(cls, thread: int, keys: int, value: Any) -> Load:
        def named(kind: str) -> list[str]:
            return [f"{kind}:{thread}:{number}" for number in range(keys)]

        return cls(f"cart:{thread}:", named("cart"), named("visits"), named("none"), value)

    def fill(self, contender: Contender) -> None:
        for first in range(0, len(self.values), FILLED_AT_ONCE):
            keys = self.values[first : first + FILLED_AT_ONCE]
            contender.set_many(dict.fromkeys(keys, self.value))
        contender.set_many(dict.fromkeys(self.counters, 1))
        contender.remove_many(self.absent)

    def empty(self, contender: Contender) -> None:
        contender.remove_many(self.values)
        contender.remove_many(self.counters)
        contender.remove_many(self.absent)


class Operation(NamedTuple):
    """How an operation is measured."""

    prepare: Callable[[Contender, Load, int], Batch]
    """Prepares a contender for a number of calls, and returns the batch that makes them."""

    sized: bool = True
    """Whether the size of the values matters."""

    consuming: bool = False
    """Whether each call of a batch needs a key of its own."""


def _batch(call: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], calls: int) -> Batch:
    made = list(islice(cycle(arguments), calls))

    def batch() -> None:
        for each in made:
            call(*each)

    return batch


def _with(keys: list[str], *more: Any) -> list[tuple[Any, ...]]:
    return [(key, *more) for key in keys]


def _get(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.get, _with(load.values), calls)


def _miss(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.get, _with(load.absent), calls)


def _set(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.set, _with(load.values, load.value), calls)


def _create(contender: Contender, load: Load, calls: int) -> Batch:
    contender.remove_many(load.absent[:calls])
    return _batch(contender.create, _with(load.absent, load.value), calls)


def _duplicate(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.create, _with(load.values, load.value), calls)


def _incr(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.incr, _with(load.counters), calls)


def _pop(contender: Contender, load: Load, calls: int) -> Batch:
    keys = load.values[:calls]
    contender.set_many(dict.fromkeys(keys, load.value))
    return _batch(contender.pop, _with(keys), calls)


def _update(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.update, _with(load.values, change), calls)


def _get_many(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.get_many, [(load.values[:MANY],)], calls)


def _set_many(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(contender.set_many, [(dict.fromkeys(load.values[:MANY], load.value),)], calls)


def _listed(contender: Contender, load: Load, calls: int) -> Batch:
    return _batch(lambda prefix: list(contender.keys(prefix)), [(load.prefix,)], calls)


OPERATIONS = {
    "get": Operation(_get),
    "miss": Operation(_miss, sized=False),
    "set": Operation(_set),
    "create": Operation(_create, consuming=True),
    "duplicate": Operation(_duplicate),
    "incr": Operation(_incr, sized=False),
    "pop": Operation(_pop, consuming=True),
    "update": Operation(_update),
    "get_many": Operation(_get_many),
    "set_many": Operation(_set_many),
    "keys": Operation(_listed, sized=False),
}


def check(contender: Contender, load: Load) -> None:
    """Raise AssertionError unless the contender does the work of every operation."""
    [first, second, *_], counter, absent = load.values, load.counters[0], load.absent[0]
    load.fill(contender)
    assert contender.get(first) == load.value
    assert contender.get(absent) is None
    assert contender.create(absent, load.value)
    assert not contender.create(absent, None)
    assert contender.pop(absent) == load.value
    assert contender.get(absent) is None
    assert contender.incr(counter) == contender.get(counter) == 2
    contender.set(first, {"edition": 1})
    assert contender.update(first, change) == contender.get(first) == {"edition": 2}
    assert contender.get_many([first, absent]) == {first: {"edition": 2}}
    contender.set_many({first: 1, second: 2})
    assert contender.get_many([second, first]) == {first: 1, second: 2}
    assert not contender.lists or sorted(contender.keys(load.prefix)) == sorted(load.values)
    load.empty(contender)
    assert not contender.get_many([first, second, counter, absent])
