"""Fixtures for contrib: a clock, ATOMIC_REQUESTS, views to ask, and servers to cut off or kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
import time_machine
from django.db import connections
from django.urls import path

from django_persist import Store, persist, stores
from django_persist.models import Entry
from tests import clock, servers
from tests.aliases import alias, another
from tests.conftest import BACKENDS, DATABASE, DATABASE_SERVERS, REDIS, OpenStore, OwnServer
from tests.servers.proxy import Proxy
from tests.servers.valkey_servers import start

Advance: TypeAlias = Callable[[float], None]
Serve: TypeAlias = Callable[..., None]

CUT = (*DATABASE_SERVERS, "valkey")


@pytest.fixture
def advance() -> Iterator[Advance]:
    """A function that lets seconds pass for the default store, without waiting."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda seconds: clock.elapse(persist, seconds, traveller)


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that sets ATOMIC_REQUESTS for an alias of DATABASES."""
    return lambda alias: monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)


@pytest.fixture
def serve(settings: Any) -> Serve:
    """A function that makes these views the whole site: one at /, the others at their names."""

    def serve_(first: Any, **others: Any) -> None:
        named = (path(name, view) for name, view in others.items())
        settings.ROOT_URLCONF = (path("", first), *named)

    return serve_


@pytest.fixture(params=CUT)
def proxy(
    request: pytest.FixtureRequest,
    open_store: OpenStore,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxy]:
    """A proxy through which the default store reaches each server in turn."""
    # A connection that a test has cut is used, however long the machine took to cut it.
    monkeypatch.setattr("django_persist.drivers.database.connection.IDLE_SECONDS", 60)
    direct = open_store(request.param)  # It deletes all entries at the end.
    with ExitStack() as stack:
        if request.param in DATABASE_SERVERS:
            database = another(request.param)
            proxy = Proxy(database["PORT"])
            stack.enter_context(alias("proxied", {**database, "PORT": proxy.port}))
            stack.callback(connections["proxied"].close)
            config: dict[str, Any] = {"BACKEND": DATABASE, "OPTIONS": {"using": "proxied"}}
        else:
            cache = settings.CACHES[BACKENDS[request.param]["OPTIONS"]["cache"]]
            port = int(cache["LOCATION"].rpartition(":")[2].partition("/")[0])
            proxy = Proxy(port)
            location = f"redis://127.0.0.1:{proxy.port}/0"
            settings.CACHES = {**settings.CACHES, "proxied": {**cache, "LOCATION": location}}
            config = {"BACKEND": REDIS, "OPTIONS": {"cache": "proxied"}}
        settings.PERSIST = {"default": config}
        stack.callback(proxy.close)
        stack.callback(stores["default"].driver.close)
        # The first large write asks for the size of a packet.
        stores["default"].set("first", "call" * 100)
        yield proxy
    direct.clear()


@pytest.fixture(params=["own postgresql", "own mariadb", "own valkey"])
def killable(
    request: pytest.FixtureRequest,
    own_servers: Callable[[str], OwnServer],
    settings: Any,
    django_db_blocker: Any,
) -> Iterator[tuple[servers.Server, Store]]:
    """A durable server that a test may kill, and the default store on it: each in turn."""
    if request.param == "own valkey":
        server = start("--appendonly", "yes", "--appendfsync", "always")
        cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}
        settings.CACHES = {**settings.CACHES, "own": cache}
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "own"}}}
        yield server, stores["default"]
        stores["default"].driver.close()
        server.kill()
        return
    own = own_servers(request.param)
    settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": own.alias}}}
    with django_db_blocker.unblock():
        yield own.server, stores["default"]
        if own.server.process is None:
            own.server.start()
        connections[own.alias].close()
        Entry.objects.using(own.alias).all().delete()
        connections[own.alias].close()


@pytest.fixture
def unreachable_store(settings: Any) -> None:
    """Make the default store one that can't be reached."""
    use_redis(settings, f"redis://127.0.0.1:{servers.free_port()}/0")


def use_redis(settings: Any, url: str) -> None:
    """Make the default store one on a Redis server."""
    settings.CACHES = {"other": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "other"}}}


@pytest.fixture
def using(database: str, open_store: OpenStore, atomic_requests: Callable[[str], None]) -> str:
    """The alias of each database in turn, with ATOMIC_REQUESTS and the default store."""
    name = str(open_store(database).driver.using)  # type: ignore[attr-defined]
    atomic_requests(name)
    return name
