"""Aliases of DATABASES for one test: other settings, or other servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections

from tests import servers

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@contextmanager
def alias(name: str, database: dict[str, Any]) -> Iterator[str]:
    """Add an alias with these settings to DATABASES for the block; return its name."""
    connections.settings.update(
        {name: connections.configure_settings({**connections.settings, name: database})[name]}
    )
    try:
        yield name
    finally:
        connections[name].close()
        del connections[name], connections.settings[name]


def another(like: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of the alias `like`, with some replaced."""
    return {**connections[like].settings_dict, **settings}


def at_level(like: str, level: str) -> dict[str, Any]:
    """Return the settings of the alias `like`, with an isolation level for every transaction."""
    if connections[like].vendor == "postgresql":
        from psycopg import IsolationLevel  # psycopg may not be installed

        isolation: Any = IsolationLevel[level.replace(" ", "_")]
    else:
        isolation = level.lower()
    return another(like, OPTIONS={**another(like)["OPTIONS"], "isolation_level": isolation})


def sqlite(**options: Any) -> dict[str, Any]:
    """Return the settings of a new SQLite file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": servers.folder() / "test.sqlite3",
        "OPTIONS": options,
    }


def migrate(name: str) -> None:
    """Create the table of entries."""
    call_command("migrate", "django_persist", database=name, verbosity=0)
