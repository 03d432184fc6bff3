"""A Galera cluster, and a store whose connections lead to its nodes in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from django_persist import Store, stores
from django_persist.models import Entry
from tests import servers
from tests.aliases import alias, migrate
from tests.conftest import DATABASE
from tests.servers.galera import Cluster, use
from tests.servers.proxy import Balancer

MakeAlias = Callable[..., str]


@pytest.fixture
def galera() -> Iterator[Cluster]:
    """A cluster whose nodes all run. One test at a time has it."""
    with use().cluster() as cluster:
        yield cluster


@pytest.fixture
def make_alias(
    galera: Cluster, django_db_setup: None, django_db_blocker: Any
) -> Iterator[MakeAlias]:
    """Return a function that makes an alias for a node, given more statements for new sessions."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def make(node: int, *, port: int | None = None, **session: int) -> str:
            database = servers.database(galera.nodes[node].url)
            settings = ", ".join(f"{name}={value}" for name, value in session.items())
            options = {"init_command": f"SET SESSION {settings}"} if settings else {}
            name = f"galera{len(made)}"
            more = {"OPTIONS": options, "PORT": port or database["PORT"]}
            made.append(stack.enter_context(alias(name, {**database, **more})))
            return name

        made: list[str] = []
        first = make(0, wsrep_sync_wait=7)
        migrate(first)
        yield make
        Entry.objects.using(first).all().delete()


@pytest.fixture
def spread(galera: Cluster, make_alias: MakeAlias, settings: Any) -> Iterator[Callable[..., Store]]:
    """Return a function that makes the default store: each new connection is to the next node."""
    balancer = Balancer([node.port for node in galera.nodes])

    def make(**session: int) -> Store:
        name = make_alias(0, port=balancer.port, **session)
        settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": name}}}
        return stores["default"]

    yield make
    balancer.close()
