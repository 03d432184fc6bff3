"""One page that shows what the store is for, each part a few lines on `request.persist`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from django_persist import DEFAULT, REMOVE, Key
from django_persist.atomic import Remove
from django_persist.exceptions import ContentionError, InvalidKeyError, StoreUnavailableError
from django_persist.http import HttpRequest

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

PRICES: Final = {"tea": 4, "cup": 9, "pot": 25}
MOST_OF_ONE: Final = 99


@dataclass
class Cart:
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(PRICES.get(product, 0) * count for product, count in self.lines.items())


VISITS: Final = Key("site:visits", as_=int)
CART: Final = Key("site:cart:{visitor}", as_=Cart, expires=timedelta(days=7))
LINK: Final = Key("site:link:{token}", as_=str, expires=timedelta(hours=1))
KNOCKS: Final = Key("site:knocks:{address}", as_=int, expires=timedelta(seconds=10))

LONGEST_NOTE: Final = 500
KNOCKS_ALLOWED: Final = 3
VISITOR: Final = "visitor"


def tells_of_its_store(view: View[P]) -> View[P]:
    """Answer 503 where the store can't be reached, or is too busy to take a write."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (StoreUnavailableError, ContentionError):
            response = render(request, "site/unavailable.html", status=503)
            response["Retry-After"] = "1"
            return response

    return wrapped


# A visit counter: `incr` is atomic, so that no visit is lost.


@require_safe
@never_cache
@tells_of_its_store
def index(request: HttpRequest) -> HttpResponse:
    return _page(request, visits=request.persist.incr(VISITS))


# A cart behind a typed key: `update` is atomic, so that two tabs can't undo each other's changes.


@require_POST
@tells_of_its_store
def change_cart(request: HttpRequest) -> HttpResponse:
    product, step = request.POST.get("product"), request.POST.get("step")
    if product not in PRICES or step not in ("1", "-1"):
        return HttpResponse("There is no such product or step.", status=400)

    def change(cart: Cart) -> Cart | Remove:
        count = min(cart.lines.pop(product, 0) + int(step), MOST_OF_ONE)
        if count > 0:
            cart.lines[product] = count
        return cart if cart.lines else REMOVE

    visitor = _visitor(request)
    # The Key's seven days begin anew with every change.
    request.persist.update(CART(visitor=visitor), change, Cart, expires=DEFAULT)
    return _known(redirect("index"), visitor)


# A one-time link: of all who open it at once, `pop` gives the note to one.


@require_POST
@tells_of_its_store
def make_link(request: HttpRequest) -> HttpResponse:
    note = request.POST.get("note", "").strip()
    if not 0 < len(note) <= LONGEST_NOTE:
        return HttpResponse(f"A note has 1 to {LONGEST_NOTE} characters.", status=400)
    token = secrets.token_urlsafe()
    request.persist.create(LINK(token=token), note)
    return _page(request, link=request.build_absolute_uri(reverse("link", args=[token])))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@tells_of_its_store
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Ask before the note is taken out: programs that preview links follow them too."""
    try:
        key = LINK(token=token)
    except InvalidKeyError:
        return _note(request, status=410)
    if request.method == "POST":
        note = request.persist.pop(key)
        return _note(request, note=note, status=200 if note is not None else 410)
    there = key in request.persist
    return _note(request, there=there, status=200 if there else 410)


# A rate limit: the first `incr` starts the window, the store ends it.


@require_POST
@tells_of_its_store
def knock(request: HttpRequest) -> HttpResponse:
    key = KNOCKS(address=request.META.get("REMOTE_ADDR", ""))
    knocks = request.persist.incr(key)
    if knocks <= KNOCKS_ALLOWED:
        return _page(request, knocks=knocks)
    window = request.persist.get_item(key)
    seconds = 1 + int(window.ttl.total_seconds()) if window and window.ttl else 1
    response = _page(request, wait=seconds, status=429)
    response["Retry-After"] = str(seconds)
    return response


def _page(request: HttpRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    visitor = _visitor(request)
    cart = request.persist.get(CART(visitor=visitor), Cart())
    context = {
        "visits": request.persist.get(VISITS, 0),
        "cart": cart,
        "products": [
            (product, price, cart.lines.get(product, 0)) for product, price in PRICES.items()
        ],
        "knocks_allowed": KNOCKS_ALLOWED,
        "longest_note": LONGEST_NOTE,
        **shown,
    }
    return _known(render(request, "site/index.html", context, status=status), visitor)


def _note(request: HttpRequest, *, status: int, **shown: Any) -> HttpResponse:
    return render(request, "site/note.html", shown, status=status)


def _visitor(request: HttpRequest) -> str:
    return request.get_signed_cookie(VISITOR, default="") or secrets.token_urlsafe(16)


def _known(response: HttpResponse, visitor: str) -> HttpResponse:
    response.set_signed_cookie(VISITOR, visitor, httponly=True, samesite="Lax")
    return response
