"""The cart recipe: no change is lost, and a login merges the visitor's cart once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_persist import Store, persist
from testproject.site.recipes.cart import CART, COOKIE, MAX_QUANTITY, Cart, change, merge
from tests.processes import race
from tests.recipes.helpers import EIGHT, child, make_request

VISITORS = CART(kind="visitor", owner="v")
USERS = CART(kind="user", owner="7")


def add(i: int) -> None:
    for n in range(12):
        change(VISITORS, ["tea", "cup"][n % 2], 1)


def test_no_change_by_eight_processes_is_lost(shared_store: Store) -> None:
    race(add, processes=EIGHT)
    assert shared_store.get(VISITORS) == Cart({"tea": 6 * EIGHT, "cup": 6 * EIGHT})


def test_a_cart_adds_and_removes_products(store: Store) -> None:
    for step in (1, 1, -1, 200):
        change(VISITORS, "tea", step)
    assert store.get(VISITORS) == Cart({"tea": MAX_QUANTITY})
    change(VISITORS, "tea", -MAX_QUANTITY)
    assert VISITORS not in store


@pytest.fixture
def signed() -> str:
    """The cookie of the visitor v."""
    from django.http import HttpResponse

    from testproject.site.recipes.cart import remember

    response = HttpResponse()
    remember(response, "v")
    return response.cookies[COOKIE].value


def log_in(cookie: str) -> None:
    request = make_request()
    request.COOKIES[COOKIE] = cookie
    merge(request=request, user=User(pk=7))


@pytest.mark.parametrize("times", [1, 2])
def test_a_login_keeps_the_larger_quantity_of_each_product(
    store: Store, signed: str, times: int
) -> None:
    store.set(VISITORS, Cart({"tea": 3, "pot": 1}))
    store.set(USERS, Cart({"tea": 2, "cup": 4}))
    for _ in range(times):
        log_in(signed)
    assert store.get(USERS) == Cart({"tea": 3, "pot": 1, "cup": 4})
    assert VISITORS not in store


def test_a_login_without_a_visitors_cart_changes_nothing(store: Store, signed: str) -> None:
    store.set(USERS, Cart({"tea": 2}))
    log_in(signed)
    log_in("forged")
    assert dict(store.items()).keys() == {USERS.name}
    assert store.get(USERS) == Cart({"tea": 2})


def test_products_added_during_a_login_are_kept(store: Store, signed: str) -> None:
    store.set(VISITORS, Cart({"tea": 1}))
    update = Store.update

    def meanwhile(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        if key == USERS:
            change(VISITORS, "pot", 1)
        return update(self, key, *args, **kwargs)

    with mock.patch.object(Store, "update", meanwhile):
        log_in(signed)
    assert store.get(VISITORS) == Cart({"tea": 1, "pot": 1})
    log_in(signed)
    assert store.get(USERS) == Cart({"tea": 1, "pot": 1})


def die_in_the_middle(line: Connection, cookie: str) -> None:
    calls: Iterator[int] = iter(range(2))
    update = Store.update

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, *args, **kwargs)

    with mock.patch.object(Store, "update", dying):
        log_in(cookie)


def test_a_process_killed_during_a_login_neither_loses_nor_doubles_products(
    shared_store: Store, signed: str
) -> None:
    shared_store.set(VISITORS, Cart({"tea": 3}))
    shared_store.set(USERS, Cart({"tea": 2}))
    with child(die_in_the_middle, signed) as (process, _):
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
    assert shared_store.get(VISITORS) == Cart({"tea": 3})
    log_in(signed)
    assert shared_store.get(USERS) == Cart({"tea": 3})
    assert VISITORS not in shared_store


@pytest.mark.django_db
def test_signing_in_merges_the_cart(client: Client) -> None:
    user = User.objects.create_superuser("ada", password="secret")
    for product in ("tea", "pot"):
        client.post("/cart", {"product": product, "step": "1"})
    assert persist.count("cart:visitor:") == 1
    client.post("/admin/login/", {"username": "ada", "password": "secret"})
    assert persist.get(CART(kind="user", owner=user.pk)) == Cart({"tea": 1, "pot": 1})
    assert persist.count("cart:visitor:") == 0
    page = client.get("/").text
    assert '<strong id="cart-total">29</strong>' in page
    assert '<strong id="user">ada</strong>' in page
    client.post("/cart", {"product": "cup", "step": "1"})
    assert persist.get(CART(kind="user", owner=user.pk)) == Cart({"tea": 1, "pot": 1, "cup": 1})


@pytest.mark.django_db
def test_a_login_without_a_browser_changes_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    assert persist.count("cart:") == 0
