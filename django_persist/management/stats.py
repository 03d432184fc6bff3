"""What `manage.py persist stats` reports about a store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..store import Store

LEADING_OPTIONS: Final = ("service", "options", "unix_socket", "read_default_file")
"""The OPTIONS of an alias of DATABASES that are shown: they can lead to another database."""


def describe(store: Store) -> dict[str, Any]:
    """Return what is known about a store without asking its server."""
    driver = type(store.driver)
    facts = {
        "driver": f"{driver.__module__}.{driver.__qualname__}",
        "place": location_url(store.place().location),
        "prefix": store.keyspace.prefix,
    }
    if not driver.supports_several_processes:
        facts["note"] = "each process has its own entries; these are of this one"
    return facts


def count(store: Store) -> Iterator[tuple[str, int | None]]:
    """Ask the server, and yield names and numbers.

    `entries` are the live entries of the store; `expired` and `bytes` are those of the whole place,
    which other stores may share.
    """
    yield "entries", store.count()
    yield "expired", store.driver.expired()
    yield "bytes", store.driver.size()


def location_url(location: Hashable) -> str:
    """Return the location of a driver's Place as a URL, without any password."""
    match location:
        case ("database", "sqlite", str() as name):
            return name if name.startswith("file:") else f"sqlite://{quote(name)}"
        case ("database", "sqlite", alias, _):
            return f"sqlite::memory:?alias={alias}"
        case ("database", str() as vendor, str() as name, str() as host, port, user, *options):
            pairs = [option.split("=", 1) for option in options if isinstance(option, str)]
            query = {name: value.strip("'") for name, value in pairs if name in LEADING_OPTIONS}
            if host.startswith("/"):
                query, host = {"host": host, **query}, ""
            server = _server(host, port, user)
            return f"{vendor}://{server}/{quote(name)}{'?' if query else ''}{urlencode(query)}"
        case ("redis", frozenset() as servers):
            return " ".join(sorted(map(_redis_url, servers)))
        case (str() as scheme, *parts):
            return f"{scheme.replace(' ', '-')}://{'/'.join(quote(str(part)) for part in parts)}"
    return str(location)


def _redis_url(location: Hashable) -> str:
    match location:
        case ("unix", path, db):
            return f"unix://{path}?db={db}"
        case (service, frozenset() as sentinels, db):
            servers = ",".join(sorted(_server(host, port) for host, port, _ in sentinels))
            return f"redis+sentinel://{servers}/{service}/{db}"
        case (str() as host, port, db):
            return f"redis://{_server(host, port)}/{db}"
    return str(location)


def _server(host: str, port: object, user: object = "") -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{quote(str(user))}{'@' if user else ''}{shown}{':' if port else ''}{port}"
