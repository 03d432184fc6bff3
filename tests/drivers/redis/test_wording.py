"""What an error says when a server was reached, but doesn't let the store in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.core import checks

from django_persist import Store
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import REDIS
from tests.drivers.redis.cluster.conftest import FACTORY
from tests.drivers.redis.conftest import DJANGO, DJANGO_REDIS, MakeDriver
from tests.drivers.redis.test_sentinel import alias as sentinel_alias
from tests.servers.valkey_servers import ValkeyCluster, ValkeySentinel, ValkeyServer

OwnServer = Callable[..., ValkeyServer]


@pytest.fixture
def said(make_driver: MakeDriver, settings: Any) -> Callable[..., str]:
    """Return a function that tries a store over an alias, and returns what the error says.

    Each call says the same, and `check --deploy` reports it.
    """

    def said_(location: Any, *, misconfigured: bool = False, **alias: Any) -> str:
        store, texts = Store(make_driver(location, **alias)), set()
        for call in (
            lambda: store.get("k"),
            lambda: store.set("k", 1),
            lambda: store.set_many({"k": 1, "l": 2}),
            lambda: list(store.keys()),
        ):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert caught.value.misconfigured is misconfigured
            assert "hush" not in str(caught.value)
            texts.add(str(caught.value))
        (text,) = texts
        settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "persist"}}}
        (message,) = checks.run_checks(tags=["django_persist"], include_deployment_checks=True)
        assert message.id == "django_persist.W007"
        assert message.msg == f"CACHES['persist'] could not be asked: {text}"
        assert message.hint
        return text

    return said_


REFUSED = "refused the connection: "

both_backends = pytest.mark.parametrize("backend", [DJANGO_REDIS, DJANGO])


@both_backends
def test_a_wrong_password(server: ValkeyServer, said: Callable[..., str], backend: str) -> None:
    location = f"redis://nobody:hush@127.0.0.1:{server.port}/0"
    text = said(location, BACKEND=backend, misconfigured=True)
    assert text.startswith(f"Redis at 127.0.0.1:{server.port} {REFUSED}")


@both_backends
def test_a_missing_password(own_server: OwnServer, said: Callable[..., str], backend: str) -> None:
    server = own_server()
    server.client.config_set("requirepass", "hush")
    assert "uthentication" in said(server.url, BACKEND=backend, misconfigured=True)


@both_backends
def test_a_database_that_is_not_there(
    server: ValkeyServer, said: Callable[..., str], backend: str
) -> None:
    text = said(f"redis://127.0.0.1:{server.port}/99", BACKEND=backend, misconfigured=True)
    assert text == f"Redis at 127.0.0.1:{server.port} {REFUSED}DB index is out of range"


@both_backends
def test_too_many_clients(own_server: OwnServer, said: Callable[..., str], backend: str) -> None:
    server = own_server()
    holder = redis.Redis(port=server.port)
    holder.config_set("maxclients", 1)
    assert f"{REFUSED}max number of clients reached" in said(server.url, BACKEND=backend)
    holder.close()


@both_backends
def test_nobody_listens(said: Callable[..., str], backend: str) -> None:
    text = said("redis://127.0.0.1:1", BACKEND=backend)
    assert text.startswith("Redis at 127.0.0.1:1 can't be reached: ")


def test_the_pool_is_full(server: ValkeyServer, make_driver: MakeDriver) -> None:
    options = {"CONNECTION_POOL_KWARGS": {"max_connections": 2}}
    driver = make_driver(server.url, OPTIONS=options)
    pool = driver.servers.primaries()[0].pool
    taken = [pool.get_connection() for _ in range(2)]
    with pytest.raises(StoreUnavailableError) as caught:
        driver.get("k")
    assert not caught.value.maybe_applied
    for part in ("was not asked", "all 2 connections", "max_connections", "BlockingConnectionPool"):
        assert part in str(caught.value)
    pool.release(taken.pop())
    assert driver.get("k") is None
    pool.release(taken.pop())


def test_a_user_who_may_not_ask_the_server(
    server: ValkeyServer, make_driver: MakeDriver, settings: Any
) -> None:
    server.run("ACL", "SETUSER", "web", "reset", "on", ">hush", "~*", "+@all", "-info")
    make_driver(f"redis://web:hush@127.0.0.1:{server.port}/0")
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "persist"}}}
    (message,) = checks.run_checks(tags=["django_persist"], include_deployment_checks=True)
    assert message.id == "django_persist.W007"
    assert "'info'" in message.msg
    server.run("ACL", "DELUSER", "web")


def test_a_wrong_password_on_a_cluster(
    shared_cluster: ValkeyCluster, said: Callable[..., str]
) -> None:
    port = shared_cluster.primaries[0].port
    options = {"CONNECTION_FACTORY": FACTORY, "USERNAME": "nobody", "PASSWORD": "hush"}
    text = said(shared_cluster.primaries[0].url, OPTIONS=options, misconfigured=True)
    assert f"Redis at 127.0.0.1:{port} {REFUSED}" in text
    assert "can't be reached" not in text


@pytest.mark.parametrize("what", ["primary", "sentinel"])
def test_a_wrong_password_behind_sentinel(
    own_server: OwnServer, said: Callable[..., str], what: str
) -> None:
    sentinel = ValkeySentinel(own_server())
    sentinel.start()
    alias = sentinel_alias(sentinel.port)
    if what == "primary":
        alias["OPTIONS"] |= {"USERNAME": "nobody", "PASSWORD": "hush"}
    else:
        alias["OPTIONS"] |= {"SENTINEL_KWARGS": {"username": "nobody", "password": "hush"}}
    text = said(alias["location"], OPTIONS=alias["OPTIONS"], misconfigured=True)
    assert text.startswith("Redis service 'main'")
    assert REFUSED in text
    assert "can't be reached" not in text
    sentinel.kill()
