"""A request for annotations, with the `persist` that the middleware sets."""

from __future__ import annotations

from django import http

from .store import Store


class HttpRequest(http.HttpRequest):
    """Django's HttpRequest behind PersistMiddleware."""

    persist: Store
