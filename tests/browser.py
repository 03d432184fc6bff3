"""Headless Chromium for tests that click: Debian's chromium and chromium-driver."""

from __future__ import annotations

import os
import shutil
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 20
"""How long a page may take to load."""

DESKTOP = (1200, 800)
PHONE = (375, 740)


def _programs() -> tuple[str | None, str | None]:
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, browsers), None), shutil.which("chromedriver")


def missing() -> str | None:
    """Return why there is no browser, or None if there is one. CI must have one."""
    if all(_programs()) or os.environ.get("CI"):
        return None
    return "there is no chromium with its chromedriver (Debian: chromium chromium-driver)"


class Browser(Chrome):
    """A browser with one window, and shortcuts for tests."""

    def __init__(self) -> None:
        chromium, chromedriver = _programs()
        assert chromium, "there is no chromium"
        assert chromedriver, "there is no chromedriver"  # Selenium would download one
        options = ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--no-sandbox",  # root can't have a sandbox
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
            # What a test never needs takes half of the processor's time.
            "--disable-gpu",
            "--disable-extensions",
            "--disable-sync",
            "--disable-component-update",
            "--disable-background-networking",
            "--disable-features=Translate,OptimizationHints,MediaRouter,InterestFeedContentSuggestions",
            "--no-first-run",
            "--lang=en-US",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options=options, service=ChromeService(chromedriver))
        self.set_page_load_timeout(SECONDS)

    def reset(self) -> None:
        """Log out, and undo `show`."""
        self.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.get("about:blank")
        self.show()
        self.complaints()

    def show(self, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Set the size of the window and the preferred colour scheme."""
        width, height = size
        self.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def css(self, selector: str) -> WebElement:
        """Return the element that a CSS selector finds; there must be just one."""
        [element] = self.all(selector)
        return element

    def all(self, selector: str) -> list[WebElement]:
        return self.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        """Return the link with this text."""
        return self.find_element(By.LINK_TEXT, text)

    def click(self, element: WebElement | str) -> None:
        """Click an element, and wait until the next page is loaded."""
        target = self.css(element) if isinstance(element, str) else element
        self.execute_script("window.left = true")
        target.click()
        self.until("return window.left === undefined && document.readyState === 'complete'")

    def until(self, script: str) -> Any:
        """Run a script until it returns something true; return that, or raise after SECONDS."""
        return WebDriverWait(self, SECONDS, poll_frequency=0.02).until(
            lambda driver: driver.execute_script(script)
        )

    def fill(self, selector: str, text: str) -> None:
        """Replace the text of a form field."""
        field = self.css(selector)
        field.clear()
        field.send_keys(text)

    def colour(self, selector: str, property_: str = "color") -> str:
        return self.css(selector).value_of_css_property(property_)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        width: int = self.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def complaints(self) -> list[str]:
        """Return the errors in the console since the last call."""
        log: list[dict[str, Any]] = self.get_log("browser")  # type: ignore[no-untyped-call]
        return [
            entry["message"]
            for entry in log
            # The browser asks for an icon by itself.
            if entry["level"] == "SEVERE" and "/favicon.ico" not in entry["message"]
        ]
