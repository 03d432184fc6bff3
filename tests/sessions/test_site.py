"""A site with the engine: users who log in and out, and unavailable stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from django_persist import Store
from django_persist.exceptions import StoreUnavailableError
from tests import servers
from tests.aliases import alias, another
from tests.conftest import DATABASE, OpenStore
from tests.servers.proxy import Fault, Proxy

Get = Callable[[str], Any]


@pytest.fixture(params=["under WSGI", "under ASGI"])
def visitor(request: pytest.FixtureRequest) -> tuple[Get, Any]:
    """A function to get a URL, and the cookies of its client."""
    if request.param == "under WSGI":
        client = Client()
        return client.get, client.cookies
    asynchronous = AsyncClient()
    return async_to_sync(asynchronous.get), asynchronous.cookies


@pytest.fixture(params=["/", "/async/"], ids=["sync views", "async views"])
def visit(request: pytest.FixtureRequest, user: User, visitor: tuple[Get, Any]) -> tuple[Get, Any]:
    """A function to get a page from sync or async views, and the cookies of its client."""
    get, cookies = visitor
    return lambda page: get(request.param + page), cookies


class TestUsers:
    def test_log_in_and_out(self, kept: Store, visit: tuple[Get, Any]) -> None:
        get, cookies = visit
        get("put?cart=tea")
        anonymous = cookies["sessionid"].value
        assert kept.count() == 1
        get("log-in")
        assert cookies["sessionid"].value != anonymous
        assert kept.count() == 1
        shown = json.loads(get("show").content)
        assert (shown["user"], shown["cart"]) == ("ada", "tea")
        get("log-out")
        assert kept.count() == 0
        assert cookies["sessionid"].value == ""
        assert json.loads(get("show").content) == {"user": ""}

    def test_cookie_of_an_old_session_is_worthless(
        self, kept: Store, visit: tuple[Get, Any]
    ) -> None:
        get, cookies = visit
        get("log-in")
        stolen = cookies["sessionid"].value
        get("log-out")
        cookies["sessionid"] = stolen
        assert json.loads(get("show").content) == {"user": ""}
        cookies["sessionid"] = stolen
        get("put?a=1")
        assert cookies["sessionid"].value != stolen
        assert kept.count() == 1

    def test_request_that_ends_after_a_logout_gets_400(
        self, kept: Store, user: User, client: Client
    ) -> None:
        for path in ("/elsewhere", "/elsewhere?cycle"):
            client.get("/log-in")
            cookie = client.cookies["sessionid"].value
            response = client.get(path)
            assert response.status_code == 400
            assert kept.count() == 0
            # The response to another request may have set a new cookie in the meantime.
            assert "sessionid" not in response.cookies
            assert client.cookies["sessionid"].value == cookie

    def test_django_test_client_works(self, kept: Store, user: User, client: Client) -> None:
        client.force_login(user)
        session = client.session
        session["a"] = 1
        session.save()
        assert client.get("/show").json()["user"] == "ada"
        client.logout()
        assert kept.count() == 0


@pytest.fixture(params=["postgresql", "mariadb", "valkey"])
def proxy(request: pytest.FixtureRequest, open_store: OpenStore, settings: Any) -> Iterator[Proxy]:
    """A proxy to the server of the store. It can cut the connections."""
    name = request.param
    if name == "valkey":
        proxy = Proxy(urlsplit(servers.valkey()).port or 0)
        location = f"redis://127.0.0.1:{proxy.port}/0"
        settings.CACHES = {**settings.CACHES, name: {**settings.CACHES[name], "LOCATION": location}}
        open_store(name)
        yield proxy
    else:
        database = another(name)
        proxy = Proxy(int(database["PORT"]))
        with alias("proxied", {**database, "PORT": proxy.port}) as proxied:
            open_store(name)  # Deletes the remaining entries at the end.
            settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": proxied}}}
            yield proxy
    proxy.close()


@pytest.mark.parametrize("page", ["show", "put?a=2", "log-out"])
def test_unavailable_store_logs_nobody_out(
    proxy: Proxy, user: User, client: Client, page: str
) -> None:
    client.get("/log-in")
    cookie = client.cookies["sessionid"].value
    proxy.cut()
    with proxy.failing(Fault.REFUSED):
        with pytest.raises(StoreUnavailableError):
            client.get(f"/{page}")
        client.raise_request_exception = False
        response = client.get(f"/{page}")
        assert response.status_code == 500
        assert "sessionid" not in response.cookies
        assert client.get("/untouched").status_code == 200
    assert client.cookies["sessionid"].value == cookie
    assert client.get("/show").json()["user"] == "ada"
