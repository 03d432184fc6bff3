"""What can be tuned of PostgreSQL, on a server of its own that writes to its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.aliases import alias
from tests.servers import PostgreSQL, database

from .compare import OneByOne, Tuned, execute, make_table, ratios, request
from .updates import updates

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


class InRequests(Tuned):
    """Begins and ends a request with each call."""

    def get(self, key: str) -> Any:
        return request(lambda: self.store.get(key))()


def tune(seconds: float) -> None:
    with _server() as (plain, socket):
        made: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
            "as it comes": (plain, ()),
            "server_side_binding": (_with(plain, server_side_binding=True), ()),
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
            loop = OneByOne("one call for each of 200", first.store)
            ratios("PostgreSQL", [first, loop], ("get_many", "set_many"), seconds)
            _connections(plain, seconds)
        updates(plain, _database)


def _connections(plain: dict[str, Any], seconds: float) -> None:
    """Compare what becomes of connections between requests."""
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


@contextmanager
def _server() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the settings of a server that a site could have, and of its socket."""
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
