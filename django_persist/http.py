"""A type for annotations: a request with the `persist` attribute that the middleware sets."""

from __future__ import annotations

from django import http

from .store import Store


class HttpRequest(http.HttpRequest):
    """Django's HttpRequest, as a view gets it from PersistMiddleware."""

    persist: Store
