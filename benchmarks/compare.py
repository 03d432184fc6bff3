"""Measure all contenders of a store, and print its table."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing

from django.db import connections

from .cases import OPERATIONS, Load, check, value
from .contenders import Contender
from .lineup import contenders
from .report import SMALL, Case, case, header, line
from .timing import FEW_KEYS, Crew, measure


def compare(store: str, options: Namespace) -> Iterator[Case]:
    """Yield the cases of a store, and print each as a line of its table."""
    lineup = contenders(store)
    names = [contender.name for contender in lineup[1:]]
    for contender in lineup:
        check(contender, Load.of(0, FEW_KEYS, value(SMALL, 0)))
    print(f"\n{header(store, names)}", flush=True)
    for threads in options.threads:
        with closing(Crew(threads, lambda: close(lineup))) as crew:
            for each in _cases(store, lineup, crew, options):
                print(line(each, names), flush=True)
                yield each


def _cases(
    store: str, lineup: Sequence[Contender], crew: Crew, options: Namespace
) -> Iterator[Case]:
    for name in options.operations:
        operation = OPERATIONS[name]
        able = [contender for contender in lineup if contender.lists or name != "keys"]
        for size in options.sizes if operation.sized else options.sizes[:1]:
            timings = measure(able, operation, size, crew, options.seconds)
            yield case(store, name, size if operation.sized else None, crew.threads, timings)


def close(lineup: Sequence[Contender]) -> None:
    connections.close_all()
    for contender in lineup:
        contender.close()
