"""A rate limit: so many requests of one caller in a window that begins with the first."""

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
    """Return the client's address: what the outermost of one's own proxies saw, if there are any.

    Of IPv6 it is the /64, which one client has whole. What is no address counts as one caller.
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
    """Decorate a view to answer 429 once `by` has returned the same more than `limit` times.

    Where the store can't be reached, StoreUnavailableError goes up, or with `fail_open` all pass.
    """

    name: str
    limit: int
    window: timedelta
    by: Callable[[HttpRequest], str] = address
    fail_open: bool = False
    refuse: Callable[[HttpRequest, int], HttpResponse] = too_many_requests

    def key(self, request: HttpRequest) -> Key[int]:
        """Return where this caller's requests are counted; to remove it forgives them."""
        return RATE(name=self.name, caller=self.by(request))

    def wait(self, request: HttpRequest) -> int:
        """Count a request; return for how many seconds there may be no other, or 0."""
        key = self.key(request)
        try:
            if request.persist.incr(key, expires=self.window) <= self.limit:
                return 0
            counter = request.persist.get_item(key)
        except StoreUnavailableError:
            if not self.fail_open:
                raise
            logger.warning("The rate limit %r lets all pass.", self.name, exc_info=True)
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
