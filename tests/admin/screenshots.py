"""Take the screenshots for the documentation: python -m pytest tests/admin/screenshots.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User

from django_persist import Store
from tests.admin.conftest import LIST, put
from tests.browser import PHONE, Browser
from tests.conftest import OpenStore, leave_expired

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP = (1200, 700)


@pytest.fixture
def entries(open_store: OpenStore, live_server: Any) -> Store:
    store = open_store("sqlite")
    day = 24 * 3600
    store.set_many(
        {
            "cart:17": {"items": {"tea": 2, "pot": 1}, "currency": "EUR"},
            "cart:4": {
                "items": {"cup": 6},
                "currency": "EUR",
                "note": "a present, no receipt please",
            },
        },
        expires=7 * day,
    )
    leave_expired(store, {"code:+49301234567": "481516"})
    store.set("session:9f86d081884c", {"user": 17, "theme": "dark"}, expires=3 * 3600 + 60)
    store.set("settings:shipping", {"free_from": 49.9, "countries": ["DE", "AT", "FR", "IT", "ES"]})
    store.incr("visits:home")
    put(store, "import:2024", '{"rows": [1, 2, ')
    store.set("tries:203.0.113.7", 4, expires=45)
    return store


@pytest.fixture
def person(browser: Browser, live_server: Any, client: Any) -> str:
    user = User.objects.create_superuser("ada", password="x")
    client.force_login(user)
    browser.get(live_server.url + "/admin/login/")
    name = django_settings.SESSION_COOKIE_NAME
    # The sidebar with the other models would take space from what is shown.
    browser.execute_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    browser.add_cookie({"name": name, "value": client.cookies[name].value})
    return str(live_server.url)


def save(browser: Browser, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    assert browser.save_screenshot(str(path))


@pytest.mark.parametrize(
    ("name", "size", "dark"),
    [("light", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, False)],
)
def test_screenshots(
    entries: Store, browser: Browser, person: str, name: str, size: tuple[int, int], dark: bool
) -> None:
    browser.show(size, dark=dark)
    browser.get(person + LIST)
    save(browser, f"admin-list-{name}")
    if name == "light":
        browser.click(browser.link("cart:17"))
        save(browser, "admin-entry-light")
