"""Settings of SQLite."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from django.db import connections, transaction

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import ContentionError
from tests.aliases import alias, sqlite

from ..report import table
from .compare import Tuned, make_table, ratios

WAL = "PRAGMA journal_mode=WAL; PRAGMA synchronous="
KINDS = {
    "default settings": "",
    "WAL": f"{WAL}FULL",
    "WAL, synchronous NORMAL": f"{WAL}NORMAL",
    "the same, mmap_size 256 MB": f"{WAL}NORMAL; PRAGMA mmap_size=268435456",
    "WAL, synchronous OFF": f"{WAL}OFF",
}
THREADS = 4


def tune(seconds: float) -> None:
    with ExitStack() as stack:
        contenders = []
        for number, (name, pragmas) in enumerate(KINDS.items()):
            settings = sqlite(init_command=pragmas, timeout=30)
            using = stack.enter_context(alias(f"tuned_{number}", settings))
            make_table(using)
            contenders.append(Tuned(name, Store(DatabaseDriver(using))))
        ratios("SQLite", contenders, ("get", "set", "incr", "set_many"), seconds)
        ratios("SQLite", contenders, ("get", "set"), seconds, threads=8)
    rows = [[mode, *_transactions(mode, seconds)] for mode in ("DEFERRED", "IMMEDIATE")]
    head = [f"SQLite, get and set in a transaction, {THREADS} threads", "per second", "failed"]
    print(f"\n{table(head, rows)}", flush=True)


def _transactions(mode: str, seconds: float) -> list[str]:
    """Return how many transactions per second read and then write, and the share that fails."""
    settings = sqlite(init_command=f"{WAL}NORMAL", timeout=30, transaction_mode=mode)
    with alias(f"mode_{mode.lower()}", settings) as using:
        make_table(using)
        store = Store(DatabaseDriver(using))
        done, failed = [0] * THREADS, [0] * THREADS
        deadline = time.perf_counter() + seconds

        def work(number: int) -> None:
            while time.perf_counter() < deadline:
                try:
                    with transaction.atomic(using):
                        store.set(f"key:{number}", store.get(f"key:{number}", 0) + 1)
                    done[number] += 1
                except ContentionError:
                    failed[number] += 1
            connections[using].close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    return [f"{sum(done) / seconds:,.0f}", f"{sum(failed) / (sum(done) + sum(failed)):.1%}"]
