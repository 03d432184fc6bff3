"""The browser that other tests click with."""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.browser import DESKTOP, PHONE, Browser

CURRENT = """
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    return [innerWidth, innerHeight, dark];
"""


def test_it_has_the_size_and_colour_scheme_asked_for(browser: Browser, live_server: Any) -> None:
    browser.get(live_server.url + "/admin/login/")
    for size, dark in product((DESKTOP, PHONE), (False, True)):
        browser.show(size, dark=dark)
        assert browser.execute_script(CURRENT) == [*size, dark]
        assert browser.overflow() == 0
    assert browser.complaints() == []


def test_reset_logs_out(browser: Browser, live_server: Any) -> None:
    browser.get(live_server.url + "/admin/login/")
    browser.add_cookie({"name": "sessionid", "value": "of another test"})
    browser.reset()
    browser.get(live_server.url + "/admin/login/")
    assert browser.get_cookie("sessionid") is None
