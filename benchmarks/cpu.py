"""Compares the CPU time that a call takes from a web worker, including that of the kernel.

A web worker runs out of CPU time long before a server does. It is also steadier than the time on
the clock: on a busy machine the ratios stay the same.

A worker that runs out of it doesn't sleep. So two threads make the calls that wait for a server: as
long as one waits, the other one keeps the core awake. To wake it up would take a fifth of a call.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import partial

from .cases import OPERATIONS, Load, check, value
from .compare import close
from .lineup import cpu_contenders
from .report import SMALL, Case, Result, case, header, line, table
from .servers import settle
from .timing import FEW_KEYS, Crew, measure

WITHOUT_SERVER = ("sqlite", "memory")


def compare_cpu(store: str, running: Collection[str], options: Namespace) -> Iterator[Case]:
    """Yield a case for each operation of a store, and print its tables: ratios, least times."""
    lineup = cpu_contenders(store, running)
    names = [contender.name for contender in lineup]
    for contender in lineup:
        check(contender, Load.of(0, FEW_KEYS, value(SMALL, 0)))
    print(f"\n{header(store, names[1:], 'µs of CPU')}", flush=True)
    cases = []
    threads = options.threads[0] if options.threads else _threads(store)
    with closing(Crew(threads, lambda: close(lineup), partial(settle, store))) as crew:
        for name in options.operations:
            operation, size = OPERATIONS[name], options.sizes[0]
            timings = measure(lineup, operation, size, crew, options.seconds * len(lineup))
            size_shown = size if operation.sized else None
            cases.append(case(store, name, size_shown, crew.threads, timings, by_cpu=True))
            print(line(cases[-1], names[1:]), flush=True)
            yield cases[-1]
    rows = [[each.name, *map(_least, each.results)] for each in cases]
    print(f"\n{table([f'{store}, least µs of CPU', *names], rows)}", flush=True)


def _threads(store: str) -> int:
    return 1 if store in WITHOUT_SERVER else 2


def _least(result: Result) -> str:
    times = result.cpu_microseconds
    return "failed" if times is None else f"{times.least:.1f}"
