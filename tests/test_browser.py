"""The browser that other tests click with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import DESKTOP, PHONE, Browser

CURRENT = """
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    return [innerWidth, innerHeight, dark];
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_it_has_the_size_and_colour_scheme_asked_for(
    browser: Browser, live_server: Any, size: tuple[int, int], dark: bool
) -> None:
    browser.show(size, dark=dark)
    browser.get(live_server.url + "/admin/login/")
    assert browser.execute_script(CURRENT) == [*size, dark]
    assert browser.overflow() == 0
    assert browser.complaints() == []


def test_reset_logs_out(browser: Browser, live_server: Any) -> None:
    browser.get(live_server.url + "/admin/login/")
    browser.add_cookie({"name": "sessionid", "value": "of another test"})
    browser.reset()
    browser.get(live_server.url + "/admin/login/")
    assert browser.get_cookie("sessionid") is None
