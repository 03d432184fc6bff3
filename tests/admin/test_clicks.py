"""The admin of entries in a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from selenium.webdriver.support.ui import Select

from django_persist import Store, stores
from tests.admin.conftest import LIST, put
from tests.browser import DESKTOP, PHONE, Browser
from tests.conftest import BACKENDS, MEMORY, OpenStore, leave_expired

Visit = Any


@pytest.fixture
def store(open_store: OpenStore, live_server: Any) -> Store:
    """A store with entries in each state."""
    store = open_store("sqlite")
    store.set_many({f"cart:{n}": {"tea": n} for n in range(1, 4)}, expires=3 * 3600 + 60)
    store.set("settings", {"<b>": "&"})
    leave_expired(store, {"code:1": 1, "code:2": 2})
    return store


@pytest.fixture
def page(store: Store, browser: Browser, live_server: Any, let_in: Any) -> Any:
    """Return a function that logs in a user and opens the list."""

    def page_(*actions: str) -> Browser:
        session = let_in(*actions).client.cookies["sessionid"].value
        cookie = {"name": "sessionid", "value": session, "url": live_server.url}
        browser.execute_cdp_cmd("Network.setCookie", cookie)
        browser.get(live_server.url + LIST)
        return browser

    return page_


def keys(browser: Browser) -> list[str]:
    return [link.text for link in browser.all("#result_list .field-exact_key a")]


def texts(browser: Browser, selector: str) -> list[str]:
    return [element.text for element in browser.all(selector)]


def run(browser: Browser, action: str) -> None:
    Select(browser.css("select[name=action]")).select_by_visible_text(action)
    browser.click("button[name=index]")


def test_find_an_entry_and_change_it(page: Any, store: Store) -> None:
    browser: Browser = page()
    assert keys(browser) == ["cart:1", "cart:2", "cart:3", "code:1", "code:2", "settings"]
    assert texts(browser, ".field-time_left")[0] == "in 3 hours"
    assert browser.all("time")[0].get_attribute("title")[:3] == "202"  # type: ignore[index]
    assert texts(browser, ".field-short_value")[-1] == '{"<b>":"&"}'

    for state, found in (
        ("Expired", ["code:1", "code:2"]),
        ("Never expires", ["settings"]),
        ("Live", ["cart:1", "cart:2", "cart:3", "settings"]),
    ):
        browser.click(browser.link(state))
        assert keys(browser) == found
    browser.fill("#searchbar", "cart:")
    browser.click("#changelist-search [type=submit]")
    assert keys(browser) == ["cart:1", "cart:2", "cart:3"]

    browser.click(browser.link("cart:2"))
    assert browser.css("#id_text").get_attribute("value") == '{\n  "tea": 2\n}'
    browser.fill("#id_text", '{"tea": 2')
    browser.click("[name=_save]")
    assert (
        "Expecting ',' delimiter (line 1, column 10)" in browser.css(".field-text .errorlist").text
    )
    assert browser.css("#id_text").get_attribute("value") == '{"tea": 2'
    assert store.get("cart:2") == {"tea": 2}
    browser.fill("#id_text", '{"tea": [7, "<i>"]}')
    browser.click("[name=_save]")
    assert "The entry “cart:2” was changed successfully." in browser.css(".messagelist").text
    assert store.get("cart:2") == {"tea": [7, "<i>"]}
    assert keys(browser) == ["cart:1", "cart:2", "cart:3"]  # The search is still active.
    item = store.get_item("cart:2")
    assert item is not None
    assert item.ttl is not None
    assert item.ttl.total_seconds() > 3 * 3600
    assert browser.complaints() == []


def test_add_an_entry_that_expires_today_and_delete_it(page: Any, store: Store) -> None:
    browser: Browser = page()
    browser.click(browser.css(".object-tools .addlink"))
    browser.click("[name=_save]")
    assert texts(browser, ".errorlist li") == ["This field is required."] * 2
    browser.fill("#id_key", "a/b ")
    browser.fill("#id_text", "[1]")
    browser.fill("#id_expires_at_0", "2999-01-01")
    browser.fill("#id_expires_at_1", "12:00")
    browser.click("[name=_continue]")
    assert store.get("a/b ") == [1]
    assert browser.css(".persist-key").get_attribute("textContent") == "a/b "
    assert "in 97" in browser.css(".field-time_left .readonly").text
    browser.css("#id_expires_at_0").clear()
    browser.css("#id_expires_at_1").clear()
    browser.click("[name=_continue]")
    assert browser.css(".field-time_left .readonly").text == "never expires"
    browser.click(browser.css(".deletelink"))
    assert "a/b" in browser.css("#content").text
    browser.click("#content [type=submit]")
    assert "was deleted successfully" in browser.css(".messagelist").text
    assert "a/b " not in store
    assert browser.complaints() == []


def test_a_key_that_exists_leads_to_its_entry(page: Any, store: Store) -> None:
    browser: Browser = page()
    browser.click(browser.css(".object-tools .addlink"))
    assert 'double quotes: "tea"' in browser.css(".field-text .help").text
    browser.fill("#id_key", "settings")
    browser.fill("#id_text", "1")
    browser.click("[name=_save]")
    assert browser.css(".field-key .errorlist").text.endswith("already exists. Open it.")
    browser.click(browser.link("Open it."))
    assert browser.css("#id_text").get_attribute("value") == '{\n  "<b>": "&"\n}'


def test_find_an_entry_by_part_and_by_a_text_anywhere(page: Any, store: Store) -> None:
    browser: Browser = page()
    browser.click(browser.link("code: (2)"))
    assert keys(browser) == ["code:1", "code:2"]
    browser.click(browser.all("details[data-filter-title*=part] a")[0])
    browser.fill("#searchbar", ":2")
    browser.click("#changelist-search [type=submit]")
    assert keys(browser) == []
    browser.click(browser.link("Look for this text anywhere in the keys"))
    assert keys(browser) == ["cart:2", "code:2"]


def test_conflict_page_shows_the_current_value_and_links_to_it(page: Any, store: Store) -> None:
    browser: Browser = page()
    browser.click(browser.link("settings"))
    store.set("settings", "written by another")
    browser.fill("#id_text", '"mine"')
    browser.click("[name=_save]")
    assert "has changed since you opened it. Nothing was saved." in browser.css("#content").text
    assert browser.css("#id_text").get_attribute("value") == '"mine"'
    assert browser.css(".errorlist .persist-value").text == '"written by another"'
    browser.click(browser.link("Open the current entry."))
    assert browser.css("#id_text").get_attribute("value") == '"written by another"'
    browser.fill("#id_text", '"mine"')
    browser.click("[name=_save]")
    assert store.get("settings") == "mine"


def test_delete_expired_and_selected_entries(page: Any, store: Store) -> None:
    browser: Browser = page()
    run(browser, "Delete all expired entries")
    assert "2 entries have expired." in browser.css("#content").text
    browser.click(browser.link("No, take me back"))
    assert keys(browser) == ["cart:1", "cart:2", "cart:3", "code:1", "code:2", "settings"]
    run(browser, "Delete all expired entries")
    browser.click("#content [type=submit]")
    assert browser.css(".messagelist").text == "2 expired entries were deleted."
    assert keys(browser) == ["cart:1", "cart:2", "cart:3", "settings"]
    browser.all(".action-select")[1].click()
    assert browser.css(".action-counter").text == "1 of 4 selected"
    run(browser, "Delete selected entries")
    assert "cart:2" in browser.css("#content").text
    browser.click("#content [type=submit]")
    assert keys(browser) == ["cart:1", "cart:3", "settings"]
    assert "cart:2" not in store


def test_repair_a_corrupt_entry(page: Any, store: Store) -> None:
    put(store, "broken", '{"a": [1, 2')
    browser: Browser = page()
    assert texts(browser, ".persist-corrupt") == ["Not JSON:"]
    browser.click(browser.link("broken"))
    assert "The stored text is not JSON." in browser.css(".field-text .help").text
    browser.css("#id_text").send_keys("]}")
    browser.click("[name=_save]")
    assert store.get("broken") == {"a": [1, 2]}
    assert browser.all(".persist-corrupt") == []


def test_view_permission_shows_no_buttons(page: Any, store: Store) -> None:
    browser: Browser = page("view")
    assert browser.all(".addlink, select[name=action], .action-select") == []
    browser.click(browser.link("settings"))
    assert browser.css(".persist-value").text == '{\n  "<b>": "&"\n}'
    assert browser.all("#content input:not([type=hidden]), #content textarea") == []
    assert texts(browser, ".submit-row a") == ["Close"]


def test_page_through_the_list(page: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 2)
    browser: Browser = page()
    browser.show(PHONE)
    for text, found in (
        ("Next", ["cart:3", "code:1"]),
        ("Last", ["code:2", "settings"]),
        ("Previous", ["cart:3", "code:1"]),
        ("First", ["cart:1", "cart:2"]),
    ):
        assert browser.link(text).rect["height"] < 40  # It takes one line.
        browser.click(browser.link(text))
        assert keys(browser) == found


WORST = {
    "k" * 255: "v" * 500,
    "a b\n" * 60: {"<b>": ["x" * 100] * 20},
    "😀" * 100: json.dumps({"a": 1}) * 30,
}


VIEWPORTS = {
    "desktop": (DESKTOP, False),
    "desktop, dark": (DESKTOP, True),
    "phone, dark": (PHONE, True),
    "small phone": ((320, 568), False),
}


def test_pages_fit_the_window_and_are_readable(page: Any, store: Store) -> None:
    store.set_many(WORST)
    browser: Browser = page()
    address = browser.current_url
    assert_fits(
        browser, ".persist-key", ".field-short_value code", ".persist-expired", ".paginator"
    )
    for key in WORST:
        browser.get(address)
        links = browser.all("#result_list .field-exact_key a")
        [link] = [link for link in links if link.text.startswith(key[:9].strip())]
        browser.click(link)
        assert_fits(browser, "#id_text", ".persist-key", ".field-size .readonly")
        browser.click(".deletelink")
        assert_fits(browser)
    page("view")
    browser.click(browser.all("#result_list .field-exact_key a")[-1])
    assert_fits(browser, ".persist-value")
    assert browser.complaints() == []


def assert_fits(browser: Browser, *selectors: str) -> None:
    """Assert that the page fits into each window, and that text has a contrast of 4.5 to 1.

    That is the contrast that WCAG requires.
    """
    for name, (size, dark) in VIEWPORTS.items():
        browser.show(size, dark=dark)
        overflow, field_widths, luminances = browser.execute_script(MEASURE, selectors)
        assert overflow == 0, name
        assert all(width <= size[0] for width in field_widths), name
        for selector, pair in zip(selectors, luminances, strict=True):
            darker, lighter = sorted(pair)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (name, selector)
    browser.show()


# One script, because each call to the browser takes a while.
MEASURE = """
    function luminance(color) {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
        const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
    function luminances(selector) {
        const text = document.querySelector(selector);
        let behind = text;
        while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
            behind = behind.parentElement;
        const colors = [getComputedStyle(text).color, getComputedStyle(behind).backgroundColor];
        return colors.map(luminance);
    }
    // Colors change by a transition.
    document.getAnimations().forEach(running => running.finish());
    const page = document.documentElement, fields = [...document.querySelectorAll('#id_text')];
    return [
        page.scrollWidth - page.clientWidth,
        fields.map(field => field.getBoundingClientRect().width),
        arguments[0].map(luminances),
    ];
"""


def test_pages_of_another_store_fit_the_window_and_are_readable(
    page: Any, store: Store, settings: Any
) -> None:
    memory = {"BACKEND": MEMORY, "OPTIONS": {"name": "tests.admin.clicks"}}
    settings.PERSIST = {"default": BACKENDS["sqlite"], "in memory": memory}
    stores["in memory"].set_many({**WORST, "old": 1}, expires=60)
    browser: Browser = page("view")
    browser.click(browser.link("in memory"))
    assert len(keys(browser)) == len(WORST) + 1
    assert_fits(browser, ".persist-key", ".field-short_value code", ".persist-note", "time")
    browser.fill("#searchbar", "k")
    browser.click("#changelist-search [type=submit]")
    browser.click(browser.all("#result_list .field-exact_key a")[0])
    assert_fits(browser, ".persist-value", ".persist-note", ".persist-key")
    browser.click(browser.link("Database “default”"))
    assert "settings" in keys(browser)
    assert browser.complaints() == []
    stores["in memory"].clear()
