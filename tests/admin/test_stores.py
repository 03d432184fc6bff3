"""The page of stores that keep their entries outside a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from django_persist import Store, stores
from django_persist.admin import stores as page_of_stores
from django_persist.admin.columns import SHOWN_CHARS
from tests.admin.conftest import LIST, LetIn, Staff
from tests.conftest import BACKENDS, MEMORY, OpenStore

PAGE = f"{LIST}store/hot/"


@pytest.fixture(params=["memory", "valkey", "redis", "postgresql"])
def hot(request: pytest.FixtureRequest, open_store: OpenStore, settings: Any) -> Iterator[Store]:
    """A store beside the one that the list shows, on each server in turn."""
    open_store(request.param)
    settings.PERSIST = {
        "default": BACKENDS["sqlite"],
        "hot": {**BACKENDS[request.param], "PREFIX": "hot:"},
    }
    store = stores["hot"]
    yield store
    store.clear()
    stores["default"].clear()


@pytest.fixture
def in_memory(open_store: OpenStore, settings: Any) -> Iterator[Store]:
    open_store("sqlite")
    settings.PERSIST = {
        "default": BACKENDS["sqlite"],
        "hot": {"BACKEND": MEMORY, "OPTIONS": {"name": "tests.admin"}},
    }
    yield stores["hot"]
    stores["hot"].clear()


def keys(page: str) -> list[str]:
    return re.findall(r'field-exact_key.*?<span class="persist-key">([^<]*)</span>', page)


def test_page_shows_key_value_size_and_time_left(hot: Store, let_in: LetIn) -> None:
    hot.set("cart:4", {"tee": "grün<"}, expires=3 * 3600 + 60)
    hot.set("other", 1)
    stores["default"].set("elsewhere", 1)
    staff = let_in("view")
    page = staff.client.get(PAGE).text
    assert keys(page) == ["cart:4", "other"]
    assert "&quot;tee&quot;:&quot;grün&lt;&quot;" in page
    assert "in 3\xa0hours" in page
    assert "16\xa0bytes" in page
    assert "never expires" in page
    assert keys(staff.client.get(PAGE, {"q": "cart:"}).text) == ["cart:4"]
    assert keys(staff.client.get(PAGE, {"q": "*"}).text) == []
    [link] = re.findall(r'href="(\?key=[^"]*)"', staff.client.get(PAGE, {"q": "o"}).text)
    assert '<pre class="persist-value">1</pre>' in staff.client.get(PAGE + link).text
    # From the list to the store, and back.
    assert f'href="{PAGE}"' in staff.page()
    assert f'href="{LIST}"' in page


def test_pages_show_each_key_once(
    hot: Store, let_in: LetIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_of_stores, "PER_PAGE", 7)
    hot.set_many({f"k:{n:02}": n for n in range(30)})
    hot.set("other", 1)
    client, seen, link = let_in("view").client, [], "?q=k:"
    while link:
        page = client.get(PAGE + link).text
        assert keys(page) == sorted(keys(page))
        seen += keys(page)
        link = next(iter(re.findall(r'href="([^"]*)" rel="next"', page)), "").replace("&amp;", "&")
    every = [f"k:{n:02}" for n in range(30)]
    # Redis and Valkey may resize their tables between two pages, which changes the order.
    is_exact = hot.driver.supports_exact_listings
    assert sorted(seen) == every if is_exact else len(set(seen) & set(every)) > 20
    monkeypatch.setattr(page_of_stores, "DEEPEST", 14)
    deepest = client.get(PAGE, {"q": "k:", "p": "2"}).text
    assert 'rel="next"' not in deepest
    assert "Only 14 keys are shown." in deepest
    last = keys(client.get(PAGE, {"q": "k:", "p": "999"}).text)
    assert last == keys(deepest) if is_exact else len(last) == 7


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"p": "x"}, 200),
        ({"p": "-1"}, 200),
        ({"p": "0"}, 200),
        ({"p": "²"}, 200),
        ({"p": "9" * 5000}, 200),
        ({"q": "\0"}, 400),
        ({"key": ""}, 400),
        ({"key": "k" * 256}, 400),
        ({"key": "gone"}, 200),
    ],
)
def test_odd_requests_are_answered(
    in_memory: Store, let_in: LetIn, query: dict[str, str], status: int
) -> None:
    in_memory.set("a", 1)
    response = let_in("view").client.get(PAGE, query)
    assert response.status_code == status
    assert ("errornote" in response.text) is (status == 400)
    assert ("There is no such entry" in response.text) is (query.get("key") == "gone")


def test_large_and_corrupt_values_are_shown_in_part(in_memory: Store, let_in: LetIn) -> None:
    in_memory.set("large", "é" * 1_000_000)
    in_memory.driver.set("broken", b"{oops", None)
    client = let_in("view").client
    page = client.get(PAGE).text
    assert len(page) < 20_000
    assert page.count("Not JSON:") == 1
    assert "1.9\xa0MB" in page
    page = client.get(PAGE, {"key": "large"}).text
    assert page.count("é") == SHOWN_CHARS - 1
    assert "Only the beginning is shown." in page
    assert "The stored text is not JSON." in client.get(PAGE, {"key": "broken"}).text


def test_page_only_reads_and_requires_the_permission(in_memory: Store, let_in: LetIn) -> None:
    in_memory.set("a", "secret")
    assert let_in("view").client.post(PAGE).status_code == 405
    for actions in (["add"], ["delete"]):
        response = let_in(*actions).client.get(PAGE)
        assert response.status_code == 403
        assert "secret" not in response.text
    # The shown database has a page of its own, and other aliases don't exist.
    staff = let_in()
    for alias in ("default", "cold", "hot/"):
        assert staff.client.get(f"{LIST}store/{alias}/").status_code == 404
    staff.client.logout()
    assert staff.client.get(PAGE).status_code == 302


def test_page_says_whose_memory_it_shows(in_memory: Store, let_in: LetIn) -> None:
    assert "Each process has its own memory." in let_in("view").client.get(PAGE).text


def test_store_that_cannot_be_reached_is_reported(
    open_store: OpenStore, settings: Any, let_in: LetIn
) -> None:
    open_store("sqlite")
    settings.CACHES = {
        **settings.CACHES,
        "off": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
    }
    redis = {**BACKENDS["redis"], "OPTIONS": {"cache": "off"}}
    settings.PERSIST = {"default": BACKENDS["sqlite"], "hot": redis}
    response = let_in("view").client.get(PAGE)
    assert response.status_code == 503
    assert "errornote" in response.text
    assert Staff(let_in().client, let_in().user).client.get(LIST).status_code == 200
