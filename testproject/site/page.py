"""A page that shows what the store is for: each section uses a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from itertools import islice
from pathlib import Path
from time import sleep
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timesince import timeuntil
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from django_persist import Key, persist
from django_persist.contrib.idempotency import IdempotencyKey
from django_persist.contrib.lock import Lock, LockTakenError
from django_persist.contrib.one_time import OneTimeToken
from django_persist.contrib.rate_limit import RateLimit
from django_persist.exceptions import ContentionError, StoreUnavailableError
from django_persist.http import HttpRequest
from testproject.site.recipes.cart import Cart, cart_key, change, remember, visitor_of
from testproject.site.recipes.feature_switch import FeatureSwitch
from testproject.site.recipes.wizard import APPLICATION, token_of

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

VISITS: Final = Key("site:visits", as_=int, expires=None)
ORDERS: Final = Key("site:orders", as_=int, expires=None)
NOTE: Final = OneTimeToken("note", as_=str, expires=timedelta(hours=1))
NEW_COLOUR: Final = FeatureSwitch("new-colour")


class Section(NamedTuple):
    """A section of the page: its documentation, its source, and its keys in the store."""

    docs: str
    source: str
    prefix: str


SECTIONS: Final = {
    "visits": Section("docs/reference/store.md", "testproject/site/page.py", "site:visits"),
    "cart": Section("docs/how-to/cart.md", "testproject/site/recipes/cart.py", "cart:"),
    "order": Section(
        "docs/how-to/idempotency-keys.md",
        "django_persist/contrib/idempotency.py",
        "idempotency:",
    ),
    "link": Section(
        "docs/how-to/one-time-tokens.md", "django_persist/contrib/one_time.py", "token:note:"
    ),
    "limit": Section("docs/how-to/rate-limit.md", "django_persist/contrib/rate_limit.py", "rate:"),
    "application": Section(
        "docs/how-to/wizard-state.md", "testproject/site/recipes/wizard.py", "application:"
    ),
    "feature": Section(
        "docs/how-to/feature-switch.md", "testproject/site/recipes/feature_switch.py", "switch:"
    ),
    "job": Section("docs/how-to/locks.md", "django_persist/contrib/lock.py", "lock:"),
}
ROOT: Final = Path(__file__).resolve().parents[2]
SHOWN: Final = 3
"""How many entries a section shows."""

PRICES: Final = {"tea": 4, "cup": 9, "pot": 25}
LONGEST_NOTE: Final = 500
INVALID: Final = "This link has been used, has expired, or never existed."
"""One message for all three cases: which one it is would only help someone who guesses."""

KNOCKS_ALLOWED: Final = 3
PERCENTS: Final = (0, 50, 100)
JOB: Final = Lock(persist, "report", lease=timedelta(seconds=30))
JOB_SECONDS = 1.0


def reports_store_errors(view: View[P]) -> View[P]:
    """Answer 503 if the store can't be reached or the call lost against other writers."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (StoreUnavailableError, ContentionError):
            response = render(request, "site/unavailable.html", status=503)
            response["Retry-After"] = "1"
            return response

    return wrapped


@require_safe
@never_cache
@reports_store_errors
def index(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return _page(request, visits=request.persist.incr(VISITS))


@require_POST
@reports_store_errors
def change_cart(request: HttpRequest) -> HttpResponse:
    product, step = request.POST.get("product"), request.POST.get("step")
    if product not in PRICES or step not in ("1", "-1"):
        return HttpResponse("There is no such product or step.", status=400)
    visitor = visitor_of(request)
    change(cart_key(request, visitor), product, int(step))
    response = _back_to("cart")
    remember(response, visitor)
    return response


@require_POST
@reports_store_errors
def make_link(request: HttpRequest) -> HttpResponse:
    note = request.POST.get("note", "").strip()
    if not 0 < len(note) <= LONGEST_NOTE:
        return HttpResponse(f"A note has 1 to {LONGEST_NOTE} characters.", status=400)
    token = NOTE.issue(request.persist, note)
    # In a cookie, as the store holds only the hash of the token.
    link = request.build_absolute_uri(reverse("link", args=[token]))
    messages.success(request, link, extra_tags="link")
    return _back_to("link")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@reports_store_errors
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Show a button that takes the note out, because link previews also open links."""
    shown: dict[str, Any] = {"invalid": INVALID}
    if request.method == "POST":
        shown["note"] = NOTE.redeem(request.persist, token)
    else:
        shown["there"] = NOTE.is_redeemable(request.persist, token)
    found = shown.get("note") is not None or shown.get("there")
    return render(request, "site/note.html", shown, status=200 if found else 410)


def _refuse_knock(request: HttpRequest, seconds: int) -> HttpResponse:
    return _page(request, wait=seconds, back_to="limit")


KNOCKS: Final = RateLimit(f"{KNOCKS_ALLOWED}/10s", name="knock", refuse=_refuse_knock)


@require_POST
@reports_store_errors
@KNOCKS
def knock(request: HttpRequest) -> HttpResponse:
    knocks = KNOCKS_ALLOWED - KNOCKS.peek(request).remaining
    messages.success(request, str(knocks), extra_tags="knocks")
    return _back_to("limit")


@require_POST
@reports_store_errors
@IdempotencyKey()
def order(request: HttpRequest) -> HttpResponse:
    product = request.POST.get("product")
    if product not in PRICES:
        return JsonResponse({"title": "There is no such product."}, status=400)
    number = request.persist.incr(ORDERS)
    return JsonResponse({"order": number, "product": product}, status=201)


@require_POST
@reports_store_errors
def set_switch(request: HttpRequest) -> HttpResponse:
    percent = request.POST.get("percent", "")
    if percent not in map(str, PERCENTS):
        return HttpResponse("There is no such percentage.", status=400)
    request.persist.set(NEW_COLOUR.key, int(percent))
    return _back_to("feature")


@require_POST
@reports_store_errors
def run_job(request: HttpRequest) -> HttpResponse:
    try:
        with JOB.acquire() as lock:
            sleep(JOB_SECONDS)  # The work.
    except LockTakenError:
        return _page(request, job_taken=True, back_to="job", status=409)
    messages.success(request, str(lock.number), extra_tags="job_number")
    return _back_to("job")


@require_safe
def read(request: HttpRequest, path: str) -> HttpResponse:
    """Show the documentation or the source of a section as it is in this checkout."""
    if not any(path in (section.docs, section.source) for section in SECTIONS.values()):
        raise Http404
    text = (ROOT / path).read_text()
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _back_to(section: str) -> HttpResponse:
    """Answer a POST so that the browser shows the page again, and reloading repeats nothing."""
    return redirect(f"{reverse('index')}#{section}")


def _stored(request: HttpRequest, section: Section) -> list[dict[str, Any]]:
    """Return the first entries of a section, as the page shows them."""
    keys = islice(request.persist.keys(section.prefix), SHOWN)
    found = [(key, request.persist.get_item(key)) for key in keys]
    return [
        {
            "key": key,
            "value": json.dumps(item.value, ensure_ascii=False),
            "left": item.expires_at and timeuntil(item.expires_at, depth=1),
        }
        for key, item in found
        if item is not None
    ]


def _page(request: HttpRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    visitor = visitor_of(request)
    cart = request.persist.get(cart_key(request, visitor), Cart())
    context = {
        "visits": request.persist.get(VISITS, 0),
        "visits_of_session": request.session.get("visits", 0),
        "products": [
            (product, price, cart.lines.get(product, 0)) for product, price in PRICES.items()
        ],
        "total": sum(PRICES.get(product, 0) * count for product, count in cart.lines.items()),
        "knocks_allowed": KNOCKS_ALLOWED,
        "longest_note": LONGEST_NOTE,
        "application": request.persist.get(APPLICATION(token=token_of(request))),
        "new_colour": NEW_COLOUR.is_on(request, visitor),
        "percent": request.persist.get(NEW_COLOUR.key, 0),
        "percents": PERCENTS,
        "sections": {
            name: {"section": section, "entries": _stored(request, section)}
            for name, section in SECTIONS.items()
        },
        **{message.extra_tags: message.message for message in messages.get_messages(request)},
        **shown,
    }
    response = render(request, "site/index.html", context, status=status)
    remember(response, visitor)
    return response
