"""Rate limits: how often one caller may use a view, or anything else."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Network, ip_address
from math import ceil
from typing import Final, TypeAlias, overload
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders

from ..exceptions import DecodeError, InvalidKeyError, StoreUnavailableError
from ..expiry import LONGEST, MICROSECOND, from_micros
from ..handler import persist
from ..http import HttpRequest
from ..keys import Key, check_characters
from ..store import Store
from ._transactions import refuse_transaction
from ._views import Call, ViewDecorator

__all__ = ["RateLimit", "Usage", "address", "header", "user"]

Caller: TypeAlias = str | int | UUID

FIXED: Final = Key("rate:{name}:{caller}", as_=int)
"""A count. It expires at the end of the window."""

SLIDING: Final = Key("sliding-rate:{name}:{caller}", as_=int)
"""A time in microseconds since 1970, which each request moves later: see `Driver.advance`."""

MOST: Final = 10**15 - 1
"""The largest integer of a structured field (RFC 9651, section 3.3.1)."""

LONGEST_CALLER: Final = 71
"""A longer text is stored as its hash, which is as long. A key has at most 255 characters."""

UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
}

_NONE: Final = timedelta(0)

logger = logging.getLogger(__name__)


# Whom to count: functions of a request, for `by`.


def address(request: HttpRequest, own_proxies: int = 0) -> str:
    """Return the client's address, as the outermost of `own_proxies` saw it.

    A request that has passed them has at least `own_proxies` addresses in X-Forwarded-For. Only the
    last ones were written by them. With fewer, none can be trusted, and the sender's own address
    counts. A port is left out, and an IPv6 address is reduced to its /64, because one client has
    all of it. Senders without an address, as on a Unix socket, count as one caller.
    """
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    if 0 < own_proxies <= len(hops) and (found := _parse_address(hops[-own_proxies])):
        return found
    return _parse_address(request.META.get("REMOTE_ADDR", ""))


def user(request: HttpRequest, own_proxies: int = 0) -> str:
    """Return the signed-in user, or the address of anyone else."""
    if request.user.is_authenticated:
        return f"user-{request.user.pk}"
    return address(request, own_proxies)


def header(name: str, own_proxies: int = 0) -> Callable[[HttpRequest], str]:
    """Return a function that counts by a header that something before it has verified.

    A client that may send any value would get a new count for each. The value is stored as a hash,
    because it may be a secret. Requests without the header count by their address.
    """

    def by_header(request: HttpRequest) -> str:
        value = request.headers.get(name)
        return address(request, own_proxies) if value is None else _hash(value)

    return by_header


def _parse_address(text: str) -> str:
    """Return what an address counts as: an IPv4 address or an IPv6 /64; "" if it isn't one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


def _hash(text: str) -> str:
    return f"sha256-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def too_many_requests(request: HttpRequest, seconds: int) -> HttpResponseBase:
    """Return the default response to a request that is refused for that many seconds."""
    return HttpResponse(f"Too many requests: try again in {seconds} s.", content_type="text/plain")


@dataclass(frozen=True, slots=True)
class Usage:
    """Where a caller stands with a limit. It is true in a condition if the request passes."""

    passed: bool
    """Whether the request passes. From `peek`: whether one would pass now."""

    remaining: int
    """How many more requests would pass now."""

    more_after: timedelta
    """The time after which more would pass; zero if none has been counted."""

    @property
    def retry_after(self) -> timedelta:
        """The time to wait before the next request; zero if one would pass now."""
        return _NONE if self.remaining else self.more_after

    def __bool__(self) -> bool:
        return self.passed


class RateLimit(ViewDecorator):
    """Limits how often one caller may do something: decorates a view, or is called with `hit`.

    `RateLimit("5/15m", name="login")` is `RateLimit(name="login", limit=5,
    window=timedelta(minutes=15))`. The units are s, m, h and d. Callers with the same `name` and
    the same result of `by` share a count, in `store` or in `request.persist`.

    By default the window is fixed: it starts with a caller's first request, and `limit` requests
    pass until it ends. With `sliding=True` up to `limit` requests pass at once, and then one each
    `window / limit`: there is no edge at which a full count becomes an empty one (GCRA, the generic
    cell rate algorithm).

    `methods` are the HTTP methods that count; others pass. GET includes HEAD. If `by` returns None,
    the request is not limited. `refuse` makes the response to a request that doesn't pass, which
    gets the status 429 and Retry-After. Every counted response gets RateLimit and RateLimit-Policy
    (draft-ietf-httpapi-ratelimit-headers-11).

    If the store can't be reached, calls raise StoreUnavailableError. With `fail_open` every request
    passes, and a warning is logged; not if the error is `misconfigured`, such as a wrong password.

    A count is never part of a transaction that a view could roll back: a decorated view runs in
    its own, within the decorator. Raises ImproperlyConfigured where that is impossible, and
    TypeError for an `async def` view.
    """

    @overload
    def __init__(
        self,
        rate: str,
        *,
        name: str,
        sliding: bool = False,
        by: Callable[[HttpRequest], Caller | None] = address,
        methods: Collection[str] | None = None,
        store: Store | None = None,
        fail_open: bool = False,
        refuse: Callable[[HttpRequest, int], HttpResponseBase] = too_many_requests,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        name: str,
        limit: int,
        window: timedelta,
        sliding: bool = False,
        by: Callable[[HttpRequest], Caller | None] = address,
        methods: Collection[str] | None = None,
        store: Store | None = None,
        fail_open: bool = False,
        refuse: Callable[[HttpRequest, int], HttpResponseBase] = too_many_requests,
    ) -> None: ...
    def __init__(
        self,
        rate: str | None = None,
        *,
        name: str,
        limit: int | None = None,
        window: timedelta | None = None,
        sliding: bool = False,
        by: Callable[[HttpRequest], Caller | None] = address,
        methods: Collection[str] | None = None,
        store: Store | None = None,
        fail_open: bool = False,
        refuse: Callable[[HttpRequest, int], HttpResponseBase] = too_many_requests,
    ) -> None:
        if (rate is None) == (limit is None or window is None):
            raise TypeError("A RateLimit takes a rate, such as '5/15m', or a limit and a window.")
        if rate is not None:
            limit, window = parse_rate(rate)
        assert limit is not None
        assert window is not None
        if not 1 <= limit <= MOST:
            raise ValueError(f"A limit must be from 1 to {MOST}, not {limit}.")
        # A sliding limit gives each request a time of its own, in whole microseconds.
        if not (limit if sliding else 1) * MICROSECOND <= window <= LONGEST:
            raise ValueError(f"A window can't be {window} for a limit of {limit}.")
        if isinstance(methods, str):
            raise TypeError("methods must be several methods, such as ['POST'], not a str.")
        self.name = name
        self.limit = limit
        self.window = window
        self.sliding = sliding
        self.by = by
        self.methods = None if methods is None else {method.upper() for method in methods}
        if self.methods and "GET" in self.methods:
            self.methods.add("HEAD")
        self.store = store
        self.fail_open = fail_open
        self.refuse = refuse
        FIXED(name=name, caller="x" * LONGEST_CALLER)  # Refuses an invalid name here.
        # Rounded up, so that over any time no more pass than the rate allows.
        self._step = -(-window // (limit * MICROSECOND)) * MICROSECOND

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.limit} in {self.window}>"

    # Outside a view.

    def hit(self, caller: HttpRequest | Caller) -> Usage:
        """Count a request, or anything else that a caller does, and return whether it passes.

        `caller` is a request, of which `by` makes the caller, or a plain text or number. Of any
        number of calls at the same time, in all processes, no more pass than the limit allows.

        Raises ImproperlyConfigured, and counts nothing, inside a transaction of the store's
        database: a rollback would undo the count.
        """
        usage = self.count(caller)
        return Usage(True, self.limit, _NONE) if usage is None else usage

    def peek(self, caller: HttpRequest | Caller) -> Usage:
        """Return where a caller stands, without counting anything.

        Another call may come between this and a `hit`. So don't let `peek` decide what passes.
        """
        key, store = self._find(caller)
        item = None if key is None else store.get_item(key, strict=True)
        if item is None:
            return Usage(True, self.limit, _NONE)
        at = store.driver.clock()
        if self.sliding:
            usage = self._slid(True, max(from_micros(item.value) - at, _NONE))
        else:
            left = None if item.expires_at is None else max(item.expires_at - at, _NONE)
            usage = self._usage(True, item.value, left)
        return Usage(usage.remaining > 0, usage.remaining, usage.more_after)

    def reset(self, caller: HttpRequest | Caller) -> bool:
        """Forget what was counted for a caller; return whether there was anything."""
        key, store = self._find(caller)
        return key is not None and store.remove(key)

    def key(self, caller: HttpRequest | Caller) -> Key[int]:
        """Return the key of the caller's entry. Raises ValueError if `by` returns None."""
        key, _ = self._find(caller)
        if key is None:
            raise ValueError(f"The rate limit {self.name!r} does not count this request.")
        return key

    # Around a view.

    def around(self, request: HttpRequest, call: Call) -> HttpResponseBase:
        if self.methods is not None and request.method not in self.methods:
            return call()
        usage = self.count(request)
        if usage is None:
            return call()
        if usage:
            response = call()
        else:
            seconds = wait_seconds(usage.retry_after)
            response = self.refuse(request, seconds)
            response.status_code = 429
            response.headers["Retry-After"] = str(seconds)
        add_fields(response.headers, self, usage)
        return response

    def fields(self, usage: Usage) -> dict[str, str]:
        """Return the header fields RateLimit and RateLimit-Policy.

        They follow draft-ietf-httpapi-ratelimit-headers-11: `r` requests remain, and there are more
        after `t` seconds; the policy allows `q` requests in `w` seconds.
        """
        policy = f"{_string(self.name)};q={self.limit}"
        if self.window % timedelta(seconds=1) == _NONE:
            policy += f";w={self.window // timedelta(seconds=1)}"
        current = f"{_string(self.name)};r={usage.remaining}"
        if usage.more_after:
            current += f";t={wait_seconds(usage.more_after)}"
        return {"RateLimit": current, "RateLimit-Policy": policy}

    # The count.

    def count(self, caller: HttpRequest | Caller) -> Usage | None:
        """Count; return None if the caller isn't limited, or if the store can't be reached."""
        key, store = self._find(caller)
        if key is None:
            return None
        refuse_transaction(store, f"The rate limit {self.name!r}")
        try:
            return self._take(key, store)
        except StoreUnavailableError as error:
            if not self.fail_open or error.misconfigured:
                raise
            logger.warning("The rate limit %r lets all requests pass.", self.name, exc_info=True)
            return None

    def _take(self, key: Key[int], store: Store) -> Usage:
        full = store.keyspace.full(key)
        if self.sliding:
            advanced = store.driver.advance(full, self._step, self._step * self.limit)
            if advanced is not None:
                return self._slid(*advanced)
        else:
            counted = store.driver.incr_with_ttl(full, 1, self.window)
            if counted is not None:
                return self._usage(counted.total <= self.limit, *counted)
        raise DecodeError(f"The value of {key.name!r} is not what a rate limit counts with.")

    def _usage(self, passed: bool, count: int, left: timedelta | None) -> Usage:
        # A counter without an end, which something else has made so, never allows more.
        return Usage(passed, max(self.limit - count, 0), LONGEST if left is None else left)

    def _slid(self, passed: bool, ahead: timedelta) -> Usage:
        remaining = max((self._step * self.limit - ahead) // self._step, 0)
        more_after = ahead - self._step * (self.limit - remaining - 1) if ahead else _NONE
        return Usage(passed, remaining, more_after)

    def _find(self, caller: HttpRequest | Caller) -> tuple[Key[int] | None, Store]:
        """Return the key of a caller, or None if they are not limited, and the store."""
        store: Store | None = self.store
        if isinstance(caller, Caller):
            found: Caller | None = caller
            store = store or persist
        else:
            found = self.by(caller)
            store = store or caller.persist
        if found is None:
            return None, store
        template = SLIDING if self.sliding else FIXED
        return template(name=self.name, caller=_short(found)), store


def add_fields(headers: ResponseHeaders | dict[str, str], limit: RateLimit, usage: Usage) -> None:
    """Add the header fields of a limit to those of a response, after those of other limits."""
    for field, item in limit.fields(usage).items():
        others = headers.get(field)
        headers[field] = f"{others}, {item}" if others else item


def parse_rate(rate: str) -> tuple[int, timedelta]:
    """Return the limit and the window of a text such as "5/15m". Raises ValueError, TypeError."""
    if not isinstance(rate, str):
        raise TypeError(f"A rate must be a str such as '5/15m', not {rate!r}.")
    match = re.fullmatch(r"(\d{1,15})/(\d{0,9})([a-z]+)", rate, re.ASCII)
    if match is None or match[3] not in UNITS:
        raise ValueError(f"A rate is a text such as '5/15m', in s, m, h or d, not {rate!r}.")
    return int(match[1]), int(match[2] or 1) * UNITS[match[3]]


def _short(caller: Caller) -> Caller:
    """Return what stands for a caller in a key: itself, or its hash if a key can't hold it."""
    if not isinstance(caller, str):
        return caller
    try:
        return check_characters(caller) if len(caller) <= LONGEST_CALLER else _hash(caller)
    except InvalidKeyError:
        return _hash(caller)


def wait_seconds(time: timedelta) -> int:
    """Return a time in whole seconds, rounded up: a request after them is not too early."""
    return max(ceil(time.total_seconds()), 1)


def _string(text: str) -> str:
    """Return a text as a String of a structured field (RFC 9651, section 4.1.6)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format("".join(c if " " <= c <= "~" else "?" for c in escaped))
