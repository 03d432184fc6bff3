"""What the system check framework says of a database that keeps entries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ...models import Entry


def check_settings(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Yield what can be said without a connection."""
    using = connection.alias
    if not router.allow_migrate_model(using, Entry):
        yield Error(
            f"DATABASE_ROUTERS don't let migrate make the table of entries in {using!r}.",
            hint="Let allow_migrate() return True or None for the app django_persist there.",
            id="django_persist.E009",
        )
    if connection.vendor == "sqlite":
        yield from _sqlite(connection)
    if connection.vendor == "mysql":
        yield from _mysql(connection)


def location(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return which database an alias leads to, so that two aliases of one are found."""
    settings = connection.settings_dict
    name = str(settings["NAME"])
    if connection.vendor != "sqlite":
        host = settings["HOST"] or "localhost"
        return (
            connection.vendor,
            name,
            "127.0.0.1" if host == "localhost" else host,
            settings["PORT"],
        )
    if not name or ":memory:" in name:
        return connection.vendor, connection.alias, name
    return connection.vendor, name if name.startswith("file:") else str(Path(name).resolve())


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    database = connection.Database  # type: ignore[attr-defined]
    if database.sqlite_version_info < (3, 35):
        yield Error(
            f"SQLite {database.sqlite_version} has no RETURNING.",
            hint="django_persist needs SQLite 3.35 or newer.",
            id="django_persist.E013",
        )
    for alias in connections:
        if alias != connection.alias and location(connections[alias]) == location(connection):
            yield Warning(
                f"DATABASES[{alias!r}] and DATABASES[{connection.alias!r}] are one SQLite file.",
                hint="SQLite has one writer: a store that stands outside a transaction would wait "
                "for the transaction that waits for it. Use one alias.",
                id="django_persist.W004",
            )


def _mysql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    params = connection.get_connection_params()
    if not params.get("client_flag", 0) & _found_rows():
        yield Error(
            f"DATABASES[{connection.alias!r}] connects without CLIENT.FOUND_ROWS.",
            hint="Leave the client_flag that Django sets: without it touch() takes an unchanged "
            "row for a missing one.",
            id="django_persist.E008",
        )


def _found_rows() -> int:
    from MySQLdb.constants import CLIENT  # the library is there only where MySQL is used

    return int(CLIENT.FOUND_ROWS)


def check_server(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Yield what the server tells."""
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
            hint=f"It must be {needed}: another one changes or refuses what it can't hold.",
            id="django_persist.E007",
        )
    if connection.vendor == "mysql" and not connection.mysql_is_mariadb:  # type: ignore[attr-defined]
        yield Warning(
            f"DATABASES[{connection.alias!r}] is a MySQL server.",
            hint="django_persist is written for MySQL 8 too, but tested on MariaDB only.",
            id="django_persist.W001",
        )
