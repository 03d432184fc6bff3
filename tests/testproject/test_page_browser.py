"""The sections of the page of the test project, used in a browser."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_persist import persist
from testproject.site import page
from tests.browser import DESKTOP, PHONE, Browser


@pytest.fixture
def site(browser: Browser, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page, opened in the browser."""
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    persist.clear()
    browser.get(live_server.url)
    yield browser
    assert browser.complaints() == []
    persist.clear()


def press(site: Browser, section: str, button: str) -> None:
    """Press the button with that text or label in a section."""
    [found] = [
        each
        for each in site.all(f"section[aria-labelledby={section}] button")
        if button in (each.text, each.get_attribute("aria-label"))
    ]
    site.click(found)


def said(site: Browser, section: str) -> str:
    return site.css(f"section[aria-labelledby={section}] [role]").text


def test_visits_are_counted_in_total_and_per_session(site: Browser) -> None:
    site.refresh()
    assert (site.css("#visit-count").text, site.css("#session-count").text) == ("2", "2")
    url = site.current_url
    site.reset()
    site.get(url)
    assert (site.css("#visit-count").text, site.css("#session-count").text) == ("3", "1")


def test_signing_in_keeps_the_cart(site: Browser) -> None:
    User.objects.create_superuser("ada", password="secret")
    press(site, "cart", "Add one tea")
    press(site, "cart", "Add one tea")
    press(site, "cart", "Add one pot")
    press(site, "cart", "Take out one tea")
    assert site.css("#cart-total").text == "29"
    site.click(site.link("sign in"))
    site.fill("#id_username", "ada")
    site.fill("#id_password", "secret")
    site.click("[type=submit]")
    assert site.css("#user").text == "ada"
    assert site.css("#cart-total").text == "29"


def test_an_order_sent_twice_is_placed_once(site: Browser) -> None:
    def answers(number: int) -> list[str]:
        site.until(f"return document.querySelectorAll('#order-answers li').length === {number}")
        return [each.text for each in site.all("#order-answers li")]

    assert not site.css("#order-again").is_enabled()
    site.css("#order-new").click()
    assert answers(1) == ["201: order 1, tea"]
    site.css("#order-again").click()
    assert answers(2)[1:] == ["201: order 1, tea"]
    site.css("#product").send_keys("Pot")
    site.css("#order-again").click()
    assert answers(3)[2:] == ["422: This Idempotency-Key was used for another request."]
    site.css("#order-new").click()
    assert answers(4)[3:] == ["201: order 2, pot"]
    for entry in site.get_log("browser"):  # type: ignore[no-untyped-call]
        assert "422" in entry["message"]  # The browser logs the refused request.


def test_a_link_opens_once(site: Browser) -> None:
    site.fill("textarea", "Meet me <b>at</b> 8")
    press(site, "link", "Make a link")
    link = site.css("#one-time-link").text
    for _ in range(2):
        site.get(link)
        assert "can be read once" in site.css("main").text
    site.click("button")
    assert site.css("#note").text == "Meet me <b>at</b> 8"
    site.execute_script("location.href = arguments[0]", link)
    site.until("return document.querySelector('.warning') !== null")
    assert "has been used, has expired, or never existed" in site.css(".warning").text
    for entry in site.get_log("browser"):  # type: ignore[no-untyped-call]
        assert "410" in entry["message"]


def test_knocks_are_limited(site: Browser) -> None:
    for knock in (1, 2, 3):
        press(site, "limit", "Knock")
        assert said(site, "limit") == f"Knock {knock} of 3."
    press(site, "limit", "Knock")
    assert said(site, "limit").startswith("Too many knocks: wait ")
    for entry in site.get_log("browser"):  # type: ignore[no-untyped-call]
        assert "429" in entry["message"]


def test_an_application_can_be_left_continued_and_submitted(site: Browser) -> None:
    start = site.current_url
    site.click(site.link("Start an application"))
    site.fill("#id_name", "Ada")
    site.fill("#id_email", "ada@example.com")
    site.click("button")
    site.delete_cookie("sessionid")
    site.get(start)
    site.click(site.link("continue"))
    site.css("#id_plan").send_keys("Large")
    site.click("button")
    site.back()
    assert site.css("#id_plan").get_attribute("value") == "large"
    site.forward()
    site.click(site.link("Change your answers"))
    assert site.css("#id_name").get_attribute("value") == "Ada"
    site.fill("#id_name", "Grace")
    site.click("button")
    assert "Grace" in site.css("dl").text
    assert "Large" in site.css("dl").text
    site.click("button")
    assert site.css("#application-number").text == "1"
    assert persist.count("application:") == 0
    site.click(site.link("Back"))
    assert site.link("Start an application").is_displayed()


def test_the_switch_turns_the_feature_on_and_off(site: Browser) -> None:
    accent = site.colour("#order-new")
    press(site, "feature", "100 %")
    assert site.css("#new-colour").text == "on"
    assert site.colour("#order-new") != accent
    press(site, "feature", "0 %")
    assert site.css("#new-colour").text == "off"
    assert site.colour("#order-new") == accent


def test_the_report_runs_once_at_a_time(site: Browser) -> None:
    press(site, "job", "Make the report")
    assert said(site, "job") == "The report is done, run number 1."
    with page.JOB.acquire():
        press(site, "job", "Make the report")
        assert "is already making the report" in said(site, "job")
    for entry in site.get_log("browser"):  # type: ignore[no-untyped-call]
        assert "409" in entry["message"]


def test_the_page_fits_and_can_be_read(site: Browser) -> None:
    for size, dark in product((DESKTOP, PHONE), (False, True)):
        site.show(size, dark=dark)
        assert site.overflow() == 0, (size, dark)
        assert (site.colour("body", "background-color") == "rgba(21, 26, 24, 1)") is dark, size
