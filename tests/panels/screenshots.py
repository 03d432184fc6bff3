"""Take the screenshot of the panel: python -m pytest tests/panels/screenshots.py"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver.common.by import By

from django_persist import Key, persist, stores
from tests.admin.screenshots import save
from tests.browser import Browser
from tests.panels.conftest import work

CART = Key("cart:{user_id}", as_=dict)


def shop(request: Any) -> None:
    request.persist.incr("visits:home")
    request.persist.get(CART(user_id=17))
    request.persist.get_many([f"price:{each}" for each in ("tea", "cup", "pot")])
    stores["hot"].incr("tries:203.0.113.7", expires=60)
    request.persist.get(CART(user_id=17))


@pytest.fixture
def server(toolbar: None) -> Iterator[str]:
    """The URL of a server with the toolbar: `live_server` has read MIDDLEWARE before."""
    server = LiveServer("127.0.0.1")
    yield str(server.url)
    server.stop()


@pytest.mark.django_db(transaction=True)
def test_screenshot(browser: Browser, server: str) -> None:
    persist.set(CART(user_id=17), {"tea": 2})
    persist.set_many({"price:tea": 4, "price:cup": 9})
    browser.show((1100, 630))
    work.append(shop)
    browser.get(server + "/page")
    # The toolbar is in a shadow root, which CSS selectors of the page don't reach.
    toolbar = browser.css("#djDebugRoot").shadow_root
    browser.until("return djDebugRoot.shadowRoot.querySelector('#djDebugToolbar').offsetWidth")
    toolbar.find_element(By.CLASS_NAME, "PersistPanel").click()
    shown = "#PersistPanel .djDebugPanelContent table"
    browser.until(f"return djDebugRoot.shadowRoot.querySelector('{shown}')")
    save(browser, "debug-toolbar")
