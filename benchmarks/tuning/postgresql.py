"""Settings of PostgreSQL, on its own server that writes to its disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import close_old_connections, connections

from django_persist import KEEP, Store
from django_persist.drivers.database import DatabaseDriver
from tests.aliases import alias
from tests.servers import PostgreSQL, database

from ..report import table
from .compare import OneByOne, Tuned, execute, make_table, ratios

TABLE = "django_persist_entry"
PARTITIONS = 8
PARTITION = (
    f"ALTER TABLE {TABLE} RENAME TO whole",
    f"CREATE TABLE {TABLE} (LIKE whole, PRIMARY KEY (key)) PARTITION BY HASH (key)",
    *(
        f"CREATE TABLE {TABLE}_{n} PARTITION OF {TABLE}"
        f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n})"
        for n in range(PARTITIONS)
    ),
    f"CREATE INDEX ON {TABLE} (expires_at)",
    "DROP TABLE whole",
)


UPDATED_KEYS, UPDATES = 10_000, 20
STORAGE = {
    "default settings": "fillfactor = 100",
    "fillfactor 70": "fillfactor = 70",
    "vacuum at 1 %": "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0",
    "both": (
        "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0"
    ),
}
STATISTICS = (
    "SELECT n_tup_upd, n_tup_hot_upd, pg_total_relation_size(relid), autovacuum_count"
    f" FROM pg_stat_user_tables WHERE relname = '{TABLE}'"
)


class InRequests(Tuned):
    """Makes each call in a request of its own: Django closes connections before and after it."""

    def get(self, key: str) -> Any:
        close_old_connections()
        try:
            return self.store.get(key)
        finally:
            close_old_connections()


def tune(seconds: float) -> None:
    with _server() as (plain, socket):
        made: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
            "default settings": (plain, ()),
            "server_side_binding": (_with(plain, server_side_binding=True), ()),
            "prepare_threshold 0": (_with(plain, prepare_threshold=0), ()),
            "a Unix socket": (socket, ()),
            "synchronous_commit off": (_with(plain, options="-c synchronous_commit=off"), ()),
            "UNLOGGED": (plain, (f"ALTER TABLE {TABLE} SET UNLOGGED",)),
            "fillfactor 70": (plain, (f"ALTER TABLE {TABLE} SET (fillfactor = 70)",)),
            f"{PARTITIONS} partitions by hash": (plain, PARTITION),
        }
        with ExitStack() as stack:
            contenders: list[Tuned] = []
            for number, (name, (settings, statements)) in enumerate(made.items()):
                using = stack.enter_context(_database(f"tuned_{number}", settings))
                make_table(using, *statements)
                contenders.append(Tuned(name, Store(DatabaseDriver(using))))
            first = contenders[0]
            operations = ("get", "set", "incr", "set_many", "keys")
            ratios("PostgreSQL", contenders, operations, seconds)
            ratios("PostgreSQL", contenders, ("get", "set"), seconds, threads=8)
            loop = OneByOne("200 calls in a loop", first.store)
            ratios("PostgreSQL", [first, loop], ("get_many", "set_many"), seconds)
            _connections(plain, seconds)
        _updates(plain)


def _connections(plain: dict[str, Any], seconds: float) -> None:
    """Compare ways to keep connections open between requests."""
    pool: dict[str, Any] = {"min_size": 2, "max_size": 10}
    kinds: dict[str, dict[str, Any]] = {
        "CONN_MAX_AGE 0": {"CONN_MAX_AGE": 0},
        "CONN_MAX_AGE None": {"CONN_MAX_AGE": None},
        "the same, with CONN_HEALTH_CHECKS": {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True},
        "psycopg's pool": {"CONN_MAX_AGE": 0, **_with(plain, pool=pool)},
    }
    with ExitStack() as stack:
        contenders = []
        for number, (name, settings) in enumerate(kinds.items()):
            database = {**plain, **settings, "NAME": "tuned_0"}
            using = stack.enter_context(alias(f"connected_{number}", database))
            contenders.append(InRequests(name, Store(DatabaseDriver(using))))
        for threads in (1, 8):
            ratios("PostgreSQL, in requests", contenders, ["get"], seconds, threads)
        for each in contenders:
            driver = each.store.driver
            assert isinstance(driver, DatabaseDriver)
            connection: Any = connections[driver.using]
            connection.close()
            if "pool" in connection.settings_dict["OPTIONS"]:
                connection.close_pool()


def _updates(plain: dict[str, Any]) -> None:
    """Print how the table grows if the same keys are set many times, by its storage parameters."""
    rows = []
    for kind, expires in (("a new expiry", 3600), ("KEEP", KEEP)):
        for number, (name, parameters) in enumerate(STORAGE.items()):
            with _database(f"updated_{kind[-4:].lower()}_{number}", plain) as using:
                make_table(using, f"ALTER TABLE {TABLE} SET ({parameters})")
                store = Store(DatabaseDriver(using))
                keys = [f"page:{n:08}" for n in range(UPDATED_KEYS)]
                store.set_many(dict.fromkeys(keys, "x" * 100))
                execute(using, f"VACUUM ANALYZE {TABLE}")
                before = _statistics(using)
                began = time.perf_counter()
                for n in range(UPDATES):
                    for first in range(0, UPDATED_KEYS, 100):
                        page = dict.fromkeys(keys[first : first + 100], f"{n:0100}")
                        store.set_many(page, expires=expires)
                took = time.perf_counter() - began
                after = _statistics(using)
            hot = (after[1] - before[1]) / (after[0] - before[0])
            sizes = [f"{size / 1e6:.1f}" for size in (before[2], after[2])]
            rate = f"{UPDATED_KEYS * UPDATES / took:,.0f}"
            rows.append([f"{kind}, {name}", rate, f"{hot:.0%}", *sizes, str(after[3])])
    title = f"{UPDATES} sets of {UPDATED_KEYS:,} keys"
    head = [title, "rows per second", "HOT", "size before, MB", "after", "vacuums"]
    print(f"\n{table(head, rows)}", flush=True)


def _statistics(using: str) -> tuple[Any, ...]:
    time.sleep(1.2)  # A session reports its statistics once a second at most.
    execute(using, "SELECT pg_stat_force_next_flush()")
    with connections[using].cursor() as cursor:
        cursor.execute(STATISTICS)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


@contextmanager
def _server() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the settings of a realistic server, for TCP and for its Unix socket."""
    server = PostgreSQL(fsync="on", shared_buffers="256MB", autovacuum_naptime="5s")
    server.settings["unix_socket_directories"] = str(server.folder)
    server.start()
    plain = database(server.url)
    yield plain, {**plain, "HOST": str(server.folder)}
    server.stop()


@contextmanager
def _database(name: str, settings: dict[str, Any]) -> Iterator[str]:
    with alias("postgres", {**settings, "NAME": "postgres"}) as admin:
        execute(admin, f"CREATE DATABASE {name}")
    with alias(name, {**settings, "NAME": name}) as using:
        yield using


def _with(settings: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**settings, "OPTIONS": {**settings.get("OPTIONS", {}), **options}}
