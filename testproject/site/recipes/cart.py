"""A cart: a visitor's by a signed cookie, a user's by their id, and at login one of both."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpResponse

from django_persist import DEFAULT, REMOVE, Key, Remove, persist
from django_persist.exceptions import MissingKeyError
from django_persist.http import HttpRequest

COOKIE: Final = "visitor"
LIFETIME: Final = timedelta(days=7)
MOST_OF_ONE: Final = 99


@dataclass
class Cart:
    lines: dict[str, int] = field(default_factory=dict)


CART: Final = Key("cart:{kind}:{owner}", as_=Cart, expires=LIFETIME)


def visitor_of(request: HttpRequest) -> str:
    """Return who this is, as the cookie says, or a new name to be remembered."""
    return request.get_signed_cookie(COOKIE, default="") or secrets.token_urlsafe(16)


def remember(response: HttpResponse, visitor: str) -> None:
    response.set_signed_cookie(COOKIE, visitor, max_age=LIFETIME, httponly=True, samesite="Lax")


def cart_key(request: HttpRequest, visitor: str) -> Key[Cart]:
    """Return where the cart is: the user's, or of who has not signed in the visitor's."""
    if request.user.is_authenticated:
        return CART(kind="user", owner=str(request.user.pk))
    return CART(kind="visitor", owner=visitor)


def change(key: Key[Cart], product: str, step: int) -> None:
    """Add to the number of a product, or take from it; the seven days begin anew."""

    def changed(cart: Cart) -> Cart | Remove:
        count = min(cart.lines.pop(product, 0) + step, MOST_OF_ONE)
        if count > 0:
            cart.lines[product] = count
        return cart if cart.lines else REMOVE

    persist.update(key, changed, Cart, expires=DEFAULT)


@receiver(user_logged_in)
def merge(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Bring the visitor's cart along at login: of each product the larger number.

    To do it twice is to do it once, so that neither a crash nor a second tab makes two of one.
    """
    key = CART(kind="visitor", owner=visitor_of(request))
    brought = persist.get(key)
    if brought is None:
        return

    def merged(cart: Cart) -> Cart:
        for product, count in brought.lines.items():
            cart.lines[product] = max(cart.lines.get(product, 0), count)
        return cart

    persist.update(CART(kind="user", owner=str(user.pk)), merged, Cart, expires=DEFAULT)
    with suppress(MissingKeyError):  # What was added meanwhile stays, for the next login.
        persist.update(key, lambda cart: REMOVE if cart == brought else cart)
