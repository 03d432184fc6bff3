"""The system checks of a database that keeps entries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from django.core.checks import CheckMessage, Error, Warning
from django.db import Error as DatabaseError
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ...exceptions import PersistError
from ...models import Entry
from ..base import could_not_ask
from .connection import Connection

SESSION_OPTIONS = frozenset(
    {
        *("isolation_level", "pool", "server_side_binding", "prepare_threshold", "cursor_factory"),
        *("connect_timeout", "read_timeout", "write_timeout", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("application_name", "client_encoding", "charset", "sql_mode", "client_flag"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "ssl", "ssl_mode", "password", "passwd"),
    }
)
"""The OPTIONS that say how a connection works, not where it leads."""

CLOCK_SECONDS = 1.0
"""How far the clocks of the application and the database may be apart."""

CLOCKS = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(SYSDATE(6))",
}

GALERA = (
    "SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')",
    "SHOW STATUS LIKE 'wsrep_cluster_size'",
)

SYNC_WAIT_READ = 1
"""The bit of wsrep_sync_wait that makes reads wait for what other nodes have committed."""

PERSISTENCE = "SELECT relpersistence FROM pg_class WHERE oid = to_regclass(%s)"


def check_settings(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Yield the messages that need no connection."""
    using = connection.alias
    if not router.allow_migrate_model(using, Entry):
        yield Error(
            f"DATABASE_ROUTERS keep migrate from creating the table of entries in {using!r}.",
            hint="Let allow_migrate() return True or None there for the app django_persist.",
            id="django_persist.E009",
        )
    if connection.vendor == "sqlite":
        yield from _sqlite(connection)
    if connection.vendor == "mysql":
        yield from _mysql(connection)


def location(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return which database an alias leads to.

    Two aliases with the same location certainly lead to the same database. If in doubt they differ:
    to purge one table twice is harmless, to leave one unpurged is not.
    """
    settings = connection.settings_dict
    name = str(settings["NAME"])
    if connection.vendor == "sqlite":
        if not name or ":memory:" in name:
            return connection.vendor, connection.alias, name
        return connection.vendor, name if name.startswith("file:") else str(Path(name).resolve())
    host = settings["HOST"] or "localhost"
    options = sorted(
        f"{option}={value!r}"
        for option, value in settings["OPTIONS"].items()
        if option not in SESSION_OPTIONS
    )
    # On PostgreSQL the search_path names the schema of the user by default.
    user = settings["USER"] if connection.vendor == "postgresql" else ""
    return (
        connection.vendor,
        name,
        "127.0.0.1" if host == "localhost" else host,
        str(settings["PORT"]),
        user,
        *options,
    )


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    database = connection.Database  # type: ignore[attr-defined]
    if database.sqlite_version_info < (3, 35):
        yield Error(
            f"SQLite {database.sqlite_version} does not support RETURNING.",
            hint="django_persist needs SQLite 3.35 or newer.",
            id="django_persist.E013",
        )
    for alias in connections:
        if alias != connection.alias and location(connections[alias]) == location(connection):
            yield Warning(
                f"DATABASES[{alias!r}] and DATABASES[{connection.alias!r}] are the same SQLite "
                "file.",
                hint="SQLite allows one writer. A store outside the caller's transaction would "
                "wait for that transaction, which waits for the store. Use one alias.",
                id="django_persist.W004",
            )


def _mysql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    params = connection.get_connection_params()
    if not params.get("client_flag", 0) & _found_rows():
        yield Error(
            f"DATABASES[{connection.alias!r}] connects without CLIENT.FOUND_ROWS.",
            hint="Keep the client_flag that Django sets. Without it, touch() can't tell an "
            "unchanged row from a missing one.",
            id="django_persist.E008",
        )


def _found_rows() -> int:
    from MySQLdb.constants import CLIENT  # installed only if MySQL is used

    return int(CLIENT.FOUND_ROWS)


def check_deployed(connection: Connection) -> Iterator[CheckMessage]:
    """Yield the warnings of `check --deploy`."""
    alias = connection.using
    try:
        yield from connection.run(_deployed, writes=False)
    except (PersistError, DatabaseError) as error:
        yield could_not_ask(f"DATABASES[{alias!r}]", error)


def _deployed(cursor: CursorWrapper) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    vendor, alias = cursor.db.vendor, cursor.db.alias
    if vendor in CLOCKS:
        before = time.time()
        cursor.execute(CLOCKS[vendor])
        [[seconds]] = cursor.fetchall()
        after = time.time()
        apart = max(before - float(seconds), float(seconds) - after)
        if apart > CLOCK_SECONDS:
            messages.append(
                Warning(
                    f"The clock of DATABASES[{alias!r}] and that of this host are {apart:.0f} "
                    "seconds apart.",
                    hint="Entries expire by the clocks of the hosts that use them. A host whose "
                    "clock is ahead purges living entries: keep all clocks in step, as by NTP.",
                    id="django_persist.W008",
                )
            )
    if vendor == "postgresql":
        cursor.execute(PERSISTENCE, [cursor.db.ops.quote_name(Entry._meta.db_table)])
        if cursor.fetchone() == ("u",):
            messages.append(
                Warning(
                    f"The table of entries in DATABASES[{alias!r}] is UNLOGGED.",
                    hint="A crash of the server empties it, and a standby has nothing of it: "
                    f"ALTER TABLE {Entry._meta.db_table} SET LOGGED.",
                    id="django_persist.W009",
                )
            )
    if vendor == "mysql":
        messages += _galera(cursor)
    return messages


def _galera(cursor: CursorWrapper) -> Iterator[CheckMessage]:
    found: dict[str, str] = {}
    for query in GALERA:
        cursor.execute(query)
        found |= dict(cursor.fetchall())
    # A server without Galera has no such variables, or keeps wsrep_on off.
    is_cluster = found.get("wsrep_on") == "ON" and int(found.get("wsrep_cluster_size", 0)) > 1
    if is_cluster and not int(found["wsrep_sync_wait"]) & SYNC_WAIT_READ:
        yield Warning(
            f"DATABASES[{cursor.db.alias!r}] is a node of a Galera cluster, and its connections "
            f"have wsrep_sync_wait={found['wsrep_sync_wait']}.",
            hint="A read on one node can miss what another node has just acknowledged. Set OPTIONS "
            'to {"init_command": "SET SESSION wsrep_sync_wait=1"}, or to 7, if requests of one '
            "user can reach more than one node.",
            id="django_persist.W010",
        )


def check_server(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Yield the messages that depend on what the server answers."""
    needed, query = {
        "sqlite": ("UTF-8", "PRAGMA encoding"),
        "postgresql": ("UTF8", "SHOW server_encoding"),
        "mysql": ("utf8mb4", "SELECT @@character_set_connection"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        [encoding] = cursor.fetchone()
    if encoding != needed:
        yield Error(
            f"DATABASES[{connection.alias!r}] has the encoding {encoding}.",
            hint=f"Use {needed}. Any other encoding changes or refuses characters that it lacks.",
            id="django_persist.E007",
        )
