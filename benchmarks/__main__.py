"""Ours against what people use instead, on real servers: prints ratios, their time by ours.

make bench ARGS="--stores sqlite redis --operations get set --json FILE"

Each ratio is the median of those of many short rounds, in each of which all take their turn; in
brackets is between what eight of ten lie. Above 1 ours is faster. PostgreSQL and Valkey are
started; MariaDB and Redis are used where PERSIST_TEST_MARIADB and PERSIST_TEST_REDIS name them.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from .cases import OPERATIONS
from .report import SMALL, Case, as_json, remarks
from .servers import STORES, absent, running

SIZES = (SMALL, 4_000, 100_000)
THREADS = (1, 8)
TUNED = ("sqlite", "postgresql", "mariadb", "redis")


def main() -> int:
    options = _options()
    stores = list(options.stores)
    for store, reason in absent().items():
        if store in stores:
            stores.remove(store)
            print(f"{store} is left out: {reason}.")
    with running(stores):
        if options.turns:
            from .interleaved import compare_by_turns

            near = [compare_by_turns(store, options) for store in stores]
            return int(options.check and not all(near))
        if _is_of_all(options, stores) or _is_of_each(options, stores):
            return 0
        # It needs the models, which need the settings.
        from .compare import compare

        cases: list[Case] = []
        for store in stores:
            cases += compare(store, options)
    print("", *remarks(cases), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(as_json(cases), indent=1) + "\n")
    return int(options.check and any(r.is_short for each in cases for r in each.results))


def _is_of_all(options: argparse.Namespace, stores: list[str]) -> bool:
    """Print what is asked for of all stores instead of the comparison; return whether it was."""
    from .sessions import compare_sessions
    from .site import site

    if options.site:
        site()
    elif options.sessions:
        compare_sessions(stores)
    elif options.tuning:
        for name in options.tuning:
            import_module(f".tuning.{name}", __package__).tune(options.seconds)
    else:
        return False
    return True


def _is_of_each(options: argparse.Namespace, stores: list[str]) -> bool:
    """Print what is asked for of each store instead of the comparison; return whether it was."""
    from .growth import grow
    from .memory_use import give_back
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
            give_back(store, options.purge)
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
    add("--stores", nargs="+", choices=STORES, default=STORES, metavar="STORE")
    add("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS, metavar="OPERATION")
    add("--sizes", nargs="+", type=int, default=SIZES[:1], metavar="BYTES", help="of the values")
    add("--threads", nargs="+", type=int, default=THREADS[:1], metavar="NUMBER")
    add("--all", action="store_true", help=f"sizes {SIZES} and threads {THREADS}")
    add("--seconds", type=float, default=1.5, help="for each line of a table (1.5)")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--check", action="store_true", help="exit with 1 where a least ratio is not reached")
    add("--profile", action="store_true", help="print where our own time goes instead")
    add("--turns", action="store_true", help="call by call beside the same statement by hand")
    add("--growth", nargs="+", type=int, metavar="ENTRIES", help="show it at so many instead")
    add("--plans", action="store_true", help="print the databases' query plans instead")
    add("--purge", type=int, metavar="ENTRIES", help="purge so many beside other calls instead")
    add("--tuning", nargs="*", choices=TUNED, metavar="SERVER", help="try settings of it instead")
    add("--site", action="store_true", help="print what a request and the import cost instead")
    add("--sessions", action="store_true", help="compare the engines of sessions instead")
    options = parser.parse_args()
    if options.tuning == []:
        options.tuning = TUNED
    if options.tuning:
        options.stores = []
    if options.all:
        options.sizes, options.threads = SIZES, THREADS
    return options


if __name__ == "__main__":
    sys.exit(main())
