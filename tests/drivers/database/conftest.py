"""Connections to the databases that a test may cut, and servers that it may kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry
from tests.aliases import alias, another
from tests.conftest import DATABASE_SERVERS, MYSQLS, OwnServer
from tests.servers.proxy import Proxy


@pytest.fixture(autouse=True)
def unchecked_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that a test has cut is used, however long the machine took to cut it."""
    monkeypatch.setattr("django_persist.drivers.database.connection.IDLE_SECONDS", 60)


@pytest.fixture
def checked_connections(unchecked_connections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for a moment is checked before use."""
    monkeypatch.setattr("django_persist.drivers.database.connection.IDLE_SECONDS", 0.1)


@dataclass(frozen=True)
class ProxiedStore:
    """A store that reaches its database through a proxy."""

    proxy: Proxy
    store: Store
    alias: str
    direct: str
    """The alias of the same database without the proxy."""

    def rows(self) -> list[Any]:
        """Return all rows, expired or not, as the server has them."""
        return list(Entry.objects.using(self.direct).order_by("key").values_list())


@pytest.fixture(params=DATABASE_SERVERS)
def proxied(
    request: pytest.FixtureRequest, open_store: Callable[..., Store]
) -> Iterator[ProxiedStore]:
    """A store with an open connection to each server in turn."""
    direct = request.param
    open_store(direct)  # deletes all entries at the end
    database = another(direct)
    proxy = Proxy(database["PORT"])
    # PostgreSQL's client waits for two seconds at least.
    timeouts = (
        {"connect_timeout": 1, "read_timeout": 1} if direct in MYSQLS else {"connect_timeout": 2}
    )
    options = {**database["OPTIONS"], **timeouts}
    with alias("proxied", {**database, "PORT": proxy.port, "OPTIONS": options}) as name:
        store = Store(DatabaseDriver(name))
        store.count()
        yield ProxiedStore(proxy, store, name, direct)
        connections[name].close()
        proxy.close()
        # The server may hold the locks of a session that was cut for a moment longer.
        Entry.objects.using(direct).all().delete()


@pytest.fixture(params=["own postgresql", "own mariadb"])
def own(
    request: pytest.FixtureRequest, own_servers: Callable[[str], OwnServer], django_db_blocker: Any
) -> Iterator[OwnServer]:
    """Each server in turn that a test may kill. It runs again for the next test."""
    found = own_servers(request.param)
    with django_db_blocker.unblock():
        yield found
        if found.server.process is None:
            found.server.start()
        connections[found.alias].close()
        Entry.objects.using(found.alias).all().delete()
        connections[found.alias].close()
