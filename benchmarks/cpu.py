"""Compares the CPU time that a call takes from a web worker, including that of the kernel.

A web worker runs out of CPU time long before a server does. It is also steadier than the time on
the clock: on a busy machine the ratios stay the same.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterator
from contextlib import closing

from .cases import OPERATIONS, Load, check, value
from .compare import close
from .lineup import cpu_contenders
from .report import SMALL, Case, case, table
from .timing import FEW_KEYS, Crew, measure

HEAD = ("CPU, µs", "least", "theirs / ours", "target")


def compare_cpu(store: str, running: Collection[str], options: Namespace) -> Iterator[Case]:
    """Yield a case for each operation of a store, and print its table, a line per contender."""
    lineup = cpu_contenders(store, running)
    for contender in lineup:
        check(contender, Load.of(0, FEW_KEYS, value(SMALL, 0)))
    with closing(Crew(1, lambda: close(lineup))) as crew:
        for name in options.operations:
            operation, size = OPERATIONS[name], options.sizes[0]
            timings = measure(lineup, operation, size, crew, options.seconds * len(lineup))
            size_shown = size if operation.sized else None
            each = case(store, name, size_shown, crew.threads, timings, by_cpu=True)
            print(f"\n{_table(each)}", flush=True)
            yield each


def _table(each: Case) -> str:
    rows = []
    for result in each.results:
        spread, ratio = result.cpu_microseconds, result.cpu_ratio
        if spread is None or ratio is None:
            rows.append([result.name, "failed", "", "", ""])
            continue
        reached = "" if result.cpu_target is None else f"{result.cpu_target:.2f}"
        cells = [str(spread), f"{spread.least:.1f}", f"{'! ' * result.misses_target}{ratio}"]
        rows.append([result.name, *cells, reached])
    rows[0][3] = ""
    return table((f"{each.store}, {each.name}", *HEAD), rows)
