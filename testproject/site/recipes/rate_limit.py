"""A rate limit: at most N requests per caller in a window that starts with the first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from ipaddress import IPv6Network, ip_address
from math import ceil
from typing import Concatenate, Final, ParamSpec

from django.http import HttpResponse

from django_persist import Key
from django_persist.exceptions import StoreUnavailableError
from django_persist.http import HttpRequest

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

RATE: Final = Key("rate:{name}:{caller}", as_=int)

logger = logging.getLogger(__name__)


def address(request: HttpRequest, own_proxies: int = 0) -> str:
    """Return the client's address, as the outermost of `own_proxies` saw it.

    An IPv6 address is reduced to its /64, because one client has all of it. Invalid addresses count
    as one caller.
    """
    hops = [request.META.get("REMOTE_ADDR", "")]
    if own_proxies:
        hops = request.headers.get("X-Forwarded-For", "").split(",")[-own_proxies:]
    try:
        found = ip_address(hops[0].strip())
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


def too_many_requests(request: HttpRequest, seconds: int) -> HttpResponse:
    return HttpResponse(f"Too many requests: try again in {seconds} s.", content_type="text/plain")


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """Decorates a view to answer 429 after `limit` requests for which `by` returned the same text.

    If the store can't be reached, the view raises StoreUnavailableError; with `fail_open` all
    requests pass.
    """

    name: str
    limit: int
    window: timedelta
    by: Callable[[HttpRequest], str] = address
    fail_open: bool = False
    refuse: Callable[[HttpRequest, int], HttpResponse] = too_many_requests

    def key(self, request: HttpRequest) -> Key[int]:
        """Return the key of the caller's counter. Remove the entry to reset the count."""
        return RATE(name=self.name, caller=self.by(request))

    def wait(self, request: HttpRequest) -> int:
        """Count a request; return 0 if it passes, or the seconds until the window ends."""
        key = self.key(request)
        try:
            if request.persist.incr(key, expires=self.window) <= self.limit:
                return 0
            counter = request.persist.get_item(key)
        except StoreUnavailableError:
            if not self.fail_open:
                raise
            logger.warning("The rate limit %r lets all requests pass.", self.name, exc_info=True)
            return 0
        left = counter and counter.ttl
        return max(ceil(left.total_seconds()), 1) if left else 1

    def __call__(self, view: View[P]) -> View[P]:
        @wraps(view)
        def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            seconds = self.wait(request)
            if not seconds:
                return view(request, *args, **kwargs)
            response = self.refuse(request, seconds)
            response.status_code = 429
            response["Retry-After"] = str(seconds)
            return response

        return wrapped
