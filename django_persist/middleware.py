"""`request.persist`."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.http.response import HttpResponseBase

from .conf import DEFAULT_ALIAS, PACKAGE
from .handler import stores

if TYPE_CHECKING:
    from django.http import HttpRequest

    from . import http

GetResponse = Callable[["HttpRequest"], HttpResponseBase | Awaitable[HttpResponseBase]]


class PersistMiddleware:
    """Set `request.persist` to the store "default".

    It does no I/O and creates no object per request. Under an async handler it passes on the
    coroutine without adapting it. In an async view the store's calls are still synchronous: wrap
    them in `sync_to_async`.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not apps.is_installed(PACKAGE):
            # Not a check: those of this app don't run then.
            warnings.warn(
                f"{PACKAGE!r} is not in INSTALLED_APPS: its checks, its commands and its table are "
                "missing.",
                RuntimeWarning,
                stacklevel=2,
            )
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        cast("http.HttpRequest", request).persist = stores[DEFAULT_ALIAS]
        return self.get_response(request)
