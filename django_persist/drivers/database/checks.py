"""The system checks of a database that keeps entries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ...models import Entry


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
    """Return which database an alias leads to, so that two aliases of one database are found."""
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
    if connection.vendor == "mysql" and not connection.mysql_is_mariadb:  # type: ignore[attr-defined]
        yield Warning(
            f"DATABASES[{connection.alias!r}] is a MySQL server.",
            hint="django_persist supports MySQL 8, but is tested only on MariaDB.",
            id="django_persist.W001",
        )
