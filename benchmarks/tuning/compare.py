"""Compares one store under several settings of its server, in alternating rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from django.db import connections

from django_persist import Store
from tests.aliases import migrate

from ..cases import OPERATIONS, Operation
from ..contenders import Contender, Ours
from ..cores import on_ours
from ..report import SMALL, Spread, table
from ..timing import Crew, Timing, measure


class Tuned(Ours):
    def __init__(self, name: str, store: Store) -> None:
        super().__init__(store)
        self.name = name


class OneByOne(Tuned):
    """Loops over many keys with one call for each."""

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return {key: self.store.get(key) for key in keys}

    def set_many(self, mapping: dict[str, Any]) -> None:
        for key, value in mapping.items():
            self.store.set(key, value)


def ratios(
    title: str,
    contenders: Sequence[Contender],
    operations: Iterable[str | tuple[str, Operation]],
    seconds: float,
    threads: int = 1,
) -> None:
    """Print the times of the first contender, and how many times as fast the others are."""
    columns: list[str] = []
    timings: list[list[Timing]] = []
    with on_ours(), closing(Crew(threads, connections.close_all)) as crew:
        for each in operations:
            name, operation = (each, OPERATIONS[each]) if isinstance(each, str) else each
            columns.append(name)
            timings.append(measure(contenders, operation, SMALL, crew, seconds))
    rows = [[f"{contenders[0].name}, µs", *(str(Spread.of(each[0].wall)) for each in timings)]]
    for number, contender in enumerate(contenders[1:], 1):
        cells = [_ratio(each[0], each[number]) for each in timings]
        rows.append([contender.name, *cells])
    suffix = f", {threads} threads" if threads > 1 else ""
    print(f"\n{table([title + suffix, *columns], rows)}", flush=True)


def _ratio(first: Timing, other: Timing) -> str:
    if first.failure or other.failure:
        return f"failed: {first.failure or other.failure}"
    return str(Spread.of([one / two for one, two in zip(first.wall, other.wall, strict=True)]))


def make_table(alias: str, *statements: str) -> None:
    """Create the table of entries, then execute the statements that change it."""
    migrate(alias)
    execute(alias, *statements)


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
