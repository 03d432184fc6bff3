"""`request.persist`, under sync and async handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path

from django_persist import http, stores
from django_persist.middleware import PersistMiddleware

if TYPE_CHECKING:
    from tests.conftest import OpenStore


def count(request: http.HttpRequest) -> HttpResponse:
    return JsonResponse({"visits": request.persist.incr("visits")})


async def count_async(request: http.HttpRequest) -> HttpResponse:
    visits = await sync_to_async(request.persist.incr)("visits")
    return JsonResponse({"visits": visits})


urlpatterns = [path("sync/", count), path("async/", count_async)]


@pytest.fixture(autouse=True)
def site(settings: Any, open_store: OpenStore) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["django_persist.middleware.PersistMiddleware"]
    open_store("memory")


@pytest.mark.parametrize("url", ["/sync/", "/async/"])
def test_a_view_has_the_store(client: Client, url: str) -> None:
    assert client.get(url).json() == {"visits": 1}
    assert client.get(url).json() == {"visits": 2}
    assert stores["default"].get("visits") == 2


@pytest.mark.parametrize("url", ["/sync/", "/async/"])
def test_a_view_under_asgi_has_the_store(async_client: AsyncClient, url: str) -> None:
    assert asyncio.run(async_client.get(url)).json() == {"visits": 1}
    assert stores["default"].get("visits") == 1


def test_a_request_has_the_default_store_itself() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        return response

    requests: list[Any] = []
    response = HttpResponse()
    middleware = PersistMiddleware(view)
    assert not iscoroutinefunction(middleware)
    assert middleware(HttpRequest()) is response
    assert middleware(HttpRequest()) is response
    assert [request.persist is stores["default"] for request in requests] == [True, True]


def test_an_async_request_has_the_default_store_itself() -> None:
    async def view(request: Any) -> HttpResponse:
        assert request.persist is stores["default"]
        return response

    response = HttpResponse()
    middleware = PersistMiddleware(view)
    assert iscoroutinefunction(middleware)

    async def run() -> Any:
        return await middleware(HttpRequest())

    assert asyncio.run(run()) is response


@pytest.fixture
def adaptations() -> Iterator[list[str]]:
    """Return the middleware that Django has to adapt between sync and async."""
    names: list[str] = []
    adapt = BaseHandler.adapt_method_mode

    def recorded(self: Any, is_async: bool, method: Any, *args: Any, **kwargs: Any) -> Any:
        adapted = adapt(self, is_async, method, *args, **kwargs)
        if adapted is not method:
            names.append(str(kwargs.get("name") or (args[2:3] or [method])[0]))
        return adapted

    with mock.patch.object(BaseHandler, "adapt_method_mode", recorded):
        yield names


@pytest.mark.parametrize(
    "handler", [WSGIHandler, ASGIHandler], ids=lambda handler: handler.__name__
)
def test_django_does_not_adapt_it(settings: Any, handler: Any, adaptations: list[str]) -> None:
    settings.MIDDLEWARE = []
    handler()
    without = list(adaptations)
    adaptations.clear()
    settings.MIDDLEWARE = ["django_persist.middleware.PersistMiddleware"] * 3
    handler()
    assert adaptations == without
    adaptations.clear()
    settings.MIDDLEWARE = ["tests.test_middleware.sync_only"]
    handler()
    assert (adaptations == without) == (handler is WSGIHandler)


def sync_only(get_response: Any) -> Any:
    return get_response


def test_an_invalid_setting_is_an_error(client: Client, settings: Any) -> None:
    settings.PERSIST = {"default": {}}
    with pytest.raises(ImproperlyConfigured, match="no BACKEND"):
        client.get("/sync/")
    settings.PERSIST = {"default": {"BACKEND": "django_persist.drivers.memory.MemoryDriver"}}
    assert client.get("/sync/").status_code == 200
    stores["default"].clear()
