"""Pages with the toolbar and only this panel, and what the toolbar recorded for a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from django_persist import stores
from django_persist.tracing import remove_tracer
from tests.conftest import MEMORY

work: list[Callable[[Any], object]] = []
"""The last of these functions is what the pages do."""


def page(request: HttpRequest) -> HttpResponse:
    text = work[-1](request)
    return HttpResponse(f"<html><body>{text if isinstance(text, str) else ''}</body></html>")


async def async_page(request: HttpRequest) -> HttpResponse:
    await work[-1](request)  # type: ignore[misc]
    return HttpResponse("<html><body></body></html>")


urlpatterns = [path("page", page), path("async", async_page)]


@pytest.fixture
def untraced() -> Iterator[None]:
    """Remove the panel's tracer at the end: the toolbar adds it and never removes it."""
    yield
    from django_persist.panels import _trace_for_panel

    remove_tracer(_trace_for_panel)


@pytest.fixture(autouse=True)
def toolbar(settings: Any, untraced: None) -> Iterator[None]:
    """The toolbar with only this panel, and two stores in memory."""
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY, "OPTIONS": {"name": "default of the panel"}},
        "hot": {"BACKEND": MEMORY, "OPTIONS": {"name": "hot of the panel"}, "PREFIX": "secret:"},
    }
    settings.DEBUG = True
    settings.INTERNAL_IPS = ["127.0.0.1"]
    settings.ROOT_URLCONF = __name__
    settings.MIGRATION_MODULES = {}  # The toolbar writes to it.
    settings.MIDDLEWARE = [
        "debug_toolbar.middleware.DebugToolbarMiddleware",
        "django_persist.middleware.PersistMiddleware",
    ]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    assert apps.is_installed("debug_toolbar")
    if len(urlpatterns) == 2:
        urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))  # type: ignore[arg-type]
    yield
    work.clear()
    for alias in stores:
        stores[alias].clear()


def request_id(response: Any) -> str:
    """Return the id under which the toolbar stores what it recorded for a request."""
    [found] = re.findall(r'data-request-id="(\w+)"', response.content.decode())
    return str(found)


@dataclass
class Visit:
    """What the toolbar recorded for a request, and what it shows."""

    response: Any
    stats: dict[str, Any] = field(init=False)
    shown: str = field(init=False)

    def __post_init__(self) -> None:
        from debug_toolbar.toolbar import DebugToolbar

        id_ = request_id(self.response)
        stored = DebugToolbar.fetch(id_, "PersistPanel")
        assert stored is not None
        self.stats = stored.get_panel_by_id("PersistPanel").get_stats()  # type: ignore[no-untyped-call]
        panel = Client().get(
            "/__debug__/render_panel/", {"request_id": id_, "panel_id": "PersistPanel"}
        )
        self.shown = panel.json()["content"]

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.stats["calls"]
        return calls

    def keys(self) -> list[list[str]]:
        return [call["keys"] for call in self.calls]


def visit(function: Callable[[Any], object]) -> Visit:
    """Get a page that calls `function` with the request."""
    work.append(function)
    return Visit(Client().get("/page"))
