"""Compares our stores with what people use instead, on real servers.

make bench ARGS="--stores sqlite redis --operations get set --json FILE"

A ratio is their time divided by ours: above 1 ours is faster. It is the median of many short
rounds, in each of which every contender runs one batch; eight of ten rounds lie between the numbers
in brackets. PostgreSQL and Valkey are started. MariaDB, MySQL and Redis are used if
PERSIST_TEST_MARIADB, PERSIST_TEST_MYSQL and PERSIST_TEST_REDIS name them. The calls have a core of
their own: keep these servers away from the first one (`taskset`).
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from . import cores
from .cases import OPERATIONS
from .report import SMALL, Case, as_json, remarks
from .servers import PREPARED, STORES, running, unavailable

SIZES = (SMALL, 4_000, 100_000)
THREADS = (1, 8)
CPU_OPERATIONS = ("get", "set", "create", "incr")
"""Those that the baselines of --cpu have."""

TUNED = ("sqlite", "postgresql", "mariadb", "redis")


def main() -> int:
    options = _options()
    stores = list(options.stores)
    for store, reason in unavailable().items():
        if store in stores:
            stores.remove(store)
            print(f"Skipping {store}: {reason}.")
    makes_calls = _makes_calls(options)
    if makes_calls or options.tuning:
        cores.leave_one()
    with running(stores):
        if makes_calls:
            cores.take_it()
        # Imported late, because they need the models, which need the settings.
        if options.interleaved:
            from .interleaved import compare_interleaved

            near = [compare_interleaved(store, options) for store in stores]
            return int(options.check and not all(near))
        if _print_for_all(options, stores) or _print_for_each(options, stores):
            return 0
        from .compare import compare
        from .cpu import compare_cpu

        cases: list[Case] = []
        for store in stores:
            cases += compare_cpu(store, stores, options) if options.cpu else compare(store, options)
    print("", *remarks(cases), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(as_json(cases), indent=1) + "\n")
    return int(options.check and any(r.misses_target for each in cases for r in each.results))


def _print_for_all(options: argparse.Namespace, stores: list[str]) -> bool:
    """Print what an option asks for all stores at once; return whether there was one."""
    from .encoding import compare_encoding
    from .served import compare_served
    from .sessions import compare_sessions
    from .site import site

    if options.site:
        site()
        compare_served(stores)
    elif options.encoding:
        compare_encoding(options.seconds)
    elif options.sessions:
        compare_sessions(stores)
    elif options.tuning:
        for name in options.tuning:
            import_module(f".tuning.{name}", __package__).tune(options.seconds)
    else:
        return False
    return True


def _print_for_each(options: argparse.Namespace, stores: list[str]) -> bool:
    """Print what an option asks for each store; return whether there was one."""
    from .growth import grow
    from .memory_use import memory_use
    from .plans import plans
    from .profiles import profile
    from .purging import purge

    for store in stores:
        if options.growth:
            grow(store, options.growth)
        elif options.plans:
            plans(store)
        elif options.purge:
            purge(store, options.purge)
            memory_use(store, options.purge)
        elif options.profile:
            profile(store, options)
        else:
            return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--stores", nargs="+", choices=STORES, metavar="STORE")
    add("--operations", nargs="+", choices=OPERATIONS, metavar="OPERATION")
    add("--sizes", nargs="+", type=int, default=SIZES[:1], metavar="BYTES", help="of the values")
    add("--threads", nargs="+", type=int, metavar="NUMBER", help="(1; with --cpu 2 on a server)")
    add("--all", action="store_true", help=f"sizes {SIZES} and threads {THREADS}")
    add("--seconds", type=float, default=1.5, help="the time for each line of a table (1.5)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    add("--cpu", action="store_true", help="compare the client's CPU time, call by call")
    add("--check", action="store_true", help="exit with 1 if a ratio misses its target")
    add = parser.add_argument_group("to print something else instead").add_argument
    add(
        *("--interleaved", "--turns"),
        action="store_true",
        help="single calls of ours and of its baseline, in turn",
    )
    add("--profile", action="store_true", help="where our own time goes")
    add("--growth", nargs="+", type=int, metavar="ENTRIES", help="calls on stores of these sizes")
    add("--plans", action="store_true", help="the query plans of the databases")
    add("--purge", type=int, metavar="ENTRIES", help="a purge of that size, beside other calls")
    add("--tuning", nargs="*", choices=TUNED, metavar="SERVER", help="settings of the servers")
    add("--site", action="store_true", help="a site under gunicorn, a request, the import")
    add("--encoding", action="store_true", help="the check of values, beside pickle")
    add("--sessions", action="store_true", help="requests with a session, by engine")
    options = parser.parse_args()
    options.stores = options.stores or _default_stores(options)
    options.operations = options.operations or (CPU_OPERATIONS if options.cpu else OPERATIONS)
    if not set(options.operations) <= set(CPU_OPERATIONS) and options.cpu:
        parser.error(f"--cpu has the operations {', '.join(CPU_OPERATIONS)}")
    if options.tuning == []:
        options.tuning = TUNED
    if options.tuning:
        options.stores = []
    if not options.threads and not options.cpu:
        options.threads = THREADS[:1]
    if options.all:
        options.sizes, options.threads = SIZES, THREADS
    return options


def _makes_calls(options: argparse.Namespace) -> bool:
    """Return whether all that is measured are calls of this process, on servers that all share."""
    serves = options.site or options.purge or options.sessions
    return not (serves or options.encoding or options.tuning or options.plans or options.profile)


def _default_stores(options: argparse.Namespace) -> tuple[str, ...]:
    """Return all stores, but each database once where nothing depends on prepared statements."""
    grows = options.growth or options.plans or options.purge or options.sessions
    return tuple(store for store in STORES if store != PREPARED or not grows)


if __name__ == "__main__":
    sys.exit(main())
