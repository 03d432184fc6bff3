"""A cart for visitors, found by a signed cookie, and for users; a login merges both."""

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
MAX_QUANTITY: Final = 99


@dataclass
class Cart:
    lines: dict[str, int] = field(default_factory=dict)


CART: Final = Key("cart:{kind}:{owner}", as_=Cart, expires=LIFETIME)


def visitor_of(request: HttpRequest) -> str:
    """Return the visitor's name from the cookie, or a new name for `remember`."""
    return request.get_signed_cookie(COOKIE, default="") or secrets.token_urlsafe(16)


def remember(response: HttpResponse, visitor: str) -> None:
    """Put the visitor's name into the cookie."""
    response.set_signed_cookie(COOKIE, visitor, max_age=LIFETIME, httponly=True, samesite="Lax")


def cart_key(request: HttpRequest, visitor: str) -> Key[Cart]:
    """Return the key of the user's cart, or of the visitor's if nobody is signed in."""
    if request.user.is_authenticated:
        return CART(kind="user", owner=str(request.user.pk))
    return CART(kind="visitor", owner=visitor)


def change(key: Key[Cart], product: str, step: int) -> None:
    """Change the quantity of a product by `step`, and restart the cart's lifetime."""

    def changed(cart: Cart) -> Cart | Remove:
        count = min(cart.lines.pop(product, 0) + step, MAX_QUANTITY)
        if count > 0:
            cart.lines[product] = count
        return cart if cart.lines else REMOVE

    persist.update(key, changed, Cart, expires=DEFAULT)


@receiver(user_logged_in)
def merge(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Merge the visitor's cart into the user's at login, with the larger quantity of each product.

    Merging twice changes nothing, so a crash or a second tab can't double a quantity.
    """
    key = CART(kind="visitor", owner=visitor_of(request))
    visitors = persist.get(key)
    if visitors is None:
        return

    def merged(cart: Cart) -> Cart:
        for product, count in visitors.lines.items():
            cart.lines[product] = max(cart.lines.get(product, 0), count)
        return cart

    persist.update(CART(kind="user", owner=str(user.pk)), merged, Cart, expires=DEFAULT)
    with suppress(MissingKeyError):  # A cart that has changed since stays for the next login.
        persist.update(key, lambda cart: REMOVE if cart == visitors else cart)
