"""Pairs of servers of which one takes over for the other, and a store on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from django.db import connections

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry
from tests.aliases import alias, migrate
from tests.conftest import DATABASE
from tests.servers import database
from tests.servers.replicated import Pair, ReplicatedPostgreSQL

ALIAS = "failover"


@dataclass(frozen=True)
class Failover:
    """A PostgreSQL with a standby, and stores on them."""

    pair: Pair
    store: Store
    """The default store, on whichever server takes writes. Its alias names the primary first."""
    on_primary: Store
    """A store on the server that is the primary before the failover."""
    on_standby: Store

    def reconnect(self) -> None:
        """Have the default store's next call connect, as that of a new process does."""
        connections[ALIAS].close()

    def connected_to(self) -> ReplicatedPostgreSQL:
        """Return the server to which the default store's connection leads."""
        connection: Any = connections[ALIAS]
        connection.ensure_connection()
        port = connection.connection.info.port
        return {server.port: server for server in (self.pair.primary, self.pair.standby)}[port]


@pytest.fixture(scope="session")
def start_pair(django_db_setup: None) -> Iterator[Callable[[], Pair]]:
    """Return a function that starts the pair on its first call."""
    with ExitStack() as stack:

        @cache
        def start() -> Pair:
            pair = Pair()
            stack.callback(pair.stop)
            return pair

        yield start


@pytest.fixture(params=["own postgresql"])
def fail_over(
    start_pair: Callable[[], Pair], settings: Any, django_db_blocker: Any
) -> Iterator[Callable[..., Failover]]:
    """Return a function that prepares the pair, with a synchronous standby or an asynchronous.

    It takes more OPTIONS for the alias, and other settings by their names in capitals.
    """
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def prepare(*, synchronous: bool, **options: Any) -> Failover:
            pair = start_pair()
            pair.prepare(synchronous=synchronous)
            more = {name: options.pop(name) for name in [*options] if name.isupper()}
            both = {
                **database(pair.primary.url),
                "HOST": "127.0.0.1,127.0.0.1",
                "PORT": f"{pair.primary.port},{pair.standby.port}",
                "CONN_MAX_AGE": 60,
                "CONN_HEALTH_CHECKS": True,
                "OPTIONS": {"target_session_attrs": "read-write", "connect_timeout": 3, **options},
                **more,
            }
            stack.enter_context(alias(ALIAS, both))
            for name, server in (("primary", pair.primary), ("standby", pair.standby)):
                stack.enter_context(alias(name, database(server.url)))
            migrate("primary")
            Entry.objects.using("primary").all().delete()
            pair.standby.wait_until_streaming()
            settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": ALIAS}}}
            return Failover(
                pair,
                stores["default"],
                Store(DatabaseDriver("primary")),
                Store(DatabaseDriver("standby")),
            )

        yield prepare
