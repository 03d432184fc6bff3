"""The page of the test project."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from django_persist import persist
from testproject.site.page import KNOCKS_ALLOWED, NOTE, VISITS
from testproject.site.recipes.cart import CART, Cart

pytestmark = pytest.mark.django_db


def test_the_page_counts_its_visits(client: Client) -> None:
    for visits in (1, 2, 3):
        response = client.get("/")
        assert response.status_code == 200
        assert f'<strong id="visit-count">{visits}</strong>' in response.text
    assert persist.get(VISITS) == 3


def test_the_cart_keeps_its_products(client: Client) -> None:
    client.get("/")
    for product, step in (("tea", "1"), ("tea", "1"), ("pot", "1"), ("tea", "-1")):
        response = client.post("/cart", {"product": product, "step": step})
        assert (response.status_code, response["Location"]) == (302, "/#cart")
    [key] = persist.keys("cart:visitor:")
    assert persist.get(key, as_=Cart) == Cart({"pot": 1, "tea": 1})
    item = persist.get_item(key)
    assert item is not None
    assert item.ttl is not None
    assert timedelta(days=6) < item.ttl <= timedelta(days=7)
    assert '<strong id="cart-total">29</strong>' in client.get("/").text
    # Another visitor has another cart.
    assert '<strong id="cart-total">0</strong>' in Client().get("/").text


def test_an_empty_cart_is_not_kept(client: Client) -> None:
    client.post("/cart", {"product": "cup", "step": "1"})
    assert persist.count("cart:visitor:") == 1
    client.post("/cart", {"product": "cup", "step": "-1"})
    assert persist.count("cart:visitor:") == 0
    client.post("/cart", {"product": "cup", "step": "-1"})
    assert persist.count("cart:visitor:") == 0


@pytest.mark.parametrize(
    "form", [{}, {"product": "car", "step": "1"}, {"product": "tea", "step": "7"}]
)
def test_an_invalid_change_to_the_cart_is_refused(client: Client, form: dict[str, str]) -> None:
    assert client.post("/cart", form).status_code == 400
    assert persist.count() == 0


def test_a_forged_visitor_gets_another_cart(client: Client) -> None:
    persist.set(CART(kind="visitor", owner="someone"), Cart({"pot": 1}))
    client.cookies["visitor"] = "someone"
    assert '<strong id="cart-total">0</strong>' in client.get("/").text


def test_a_link_opens_once(client: Client) -> None:
    response = client.post("/links", {"note": "Meet me <at> 8"}, follow=True)
    [link] = re.findall(r'<a href="http://testserver(/links/[^"]+)"', response.text)
    for _ in range(2):
        # A link preview doesn't use the link up.
        response = client.get(link)
        assert response.status_code == 200
        assert "Meet me" not in response.text
    response = Client().post(link)
    assert response.status_code == 200
    assert "Meet me &lt;at&gt; 8" in response.text
    assert client.post(link).status_code == 410
    assert client.get(link).status_code == 410
    assert persist.count("token:note:") == 0


def test_a_link_expires_after_an_hour(client: Client, elapse: Any) -> None:
    response = client.post("/links", {"note": "hello"}, follow=True)
    [link] = re.findall(r'<a href="([^"]+/links/[^"]+)"', response.text)
    elapse(persist, 3601)
    assert client.post(urlsplit(link).path).status_code == 410


@pytest.mark.parametrize("note", ["", "  ", "a" * 501])
def test_an_invalid_note_is_refused(client: Client, note: str) -> None:
    assert client.post("/links", {"note": note}).status_code == 400
    assert persist.count() == 0


def test_a_link_that_never_existed(client: Client) -> None:
    assert client.get("/links/nothing").status_code == 410
    assert client.post("/links/" + "a" * 300).status_code == 410
    persist.set(NOTE.key("other").name, {"not": "a note"})
    assert client.post("/links/other").status_code == 410
    assert client.put("/links/other").status_code == 405


def test_the_rate_limit_limits_and_ends(client: Client, elapse: Any) -> None:
    for knock in range(1, KNOCKS_ALLOWED + 1):
        response = client.post("/knock", follow=True)
        assert response.status_code == 200
        assert f"Knock {knock} of {KNOCKS_ALLOWED}." in response.text
    response = client.post("/knock")
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 10
    assert "Too many knocks" in response.text
    # More knocks don't extend the window.
    elapse(persist, 11)
    assert client.post("/knock", follow=True).status_code == 200
    assert persist.get("rate:knock:127.0.0.1") == 1


def test_pages_that_change_something_accept_only_post(client: Client) -> None:
    for path in ("/cart", "/links", "/knock", "/orders", "/switch", "/job"):
        assert client.get(path).status_code == 405
    assert client.post("/").status_code == 405
