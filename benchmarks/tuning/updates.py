"""How PostgreSQL takes many sets of the same keys: heap-only updates, vacuum, and size."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from django_persist import KEEP, Store
from django_persist.drivers.database import DatabaseDriver

from ..report import table
from .compare import execute, fetch, loads, make_table

KEYS, TIMES = 10_000, 20
TABLE = "django_persist_entry"
FEATURES = {
    "as it comes": "fillfactor = 100",
    "fillfactor 70": "fillfactor = 70",
    "vacuum at 1 %": "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0",
    "both": (
        "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0"
    ),
}
COUNTS = (
    "SELECT n_tup_upd, n_tup_hot_upd, pg_total_relation_size(relid), autovacuum_count"
    f" FROM pg_stat_user_tables WHERE relname = '{TABLE}'"
)
HEAD = ["{} sets of {:,} keys", "rows a second", "HOT", "size before, MB", "after", "vacuums"]


def updates(
    settings: dict[str, Any], database: Callable[[str, Any], AbstractContextManager[str]]
) -> None:
    """Print what becomes of a table whose entries are set again and again."""
    rows = []
    for kind, expires in (("a new expiry", 3600), ("KEEP", KEEP)):
        for number, (name, features) in enumerate(FEATURES.items()):
            with database(f"updated_{kind[-4:].lower()}_{number}", settings) as using:
                make_table(using, f"ALTER TABLE {TABLE} SET ({features})")
                store = Store(DatabaseDriver(using))
                keys = list(loads(store, KEYS))
                execute(using, f"VACUUM ANALYZE {TABLE}")
                before = _counts(using)
                began = time.perf_counter()
                for n in range(TIMES):
                    for first in range(0, KEYS, 100):
                        page = dict.fromkeys(keys[first : first + 100], f"{n:0100}")
                        store.set_many(page, expires=expires)
                took = time.perf_counter() - began
                after = _counts(using)
            hot = (after[1] - before[1]) / (after[0] - before[0])
            sizes = [f"{size / 1e6:.1f}" for size in (before[2], after[2])]
            rate = f"{KEYS * TIMES / took:,.0f}"
            rows.append([f"{kind}, {name}", rate, f"{hot:.0%}", *sizes, str(after[3])])
    print(f"\n{table([HEAD[0].format(TIMES, KEYS), *HEAD[1:]], rows)}", flush=True)


def _counts(using: str) -> tuple[Any, ...]:
    time.sleep(1.2)  # A session tells its counts once a second at the most.
    execute(using, "SELECT pg_stat_force_next_flush()")
    return fetch(using, COUNTS)
