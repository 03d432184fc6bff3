"""manage.py site, and the frame of the page: stored entries, links, and the way back."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from django.test import Client

from django_persist import persist
from testproject.site import page
from testproject.site.page import SECTIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The site in a process of its own: its address, and what it printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, "SQLITE_PATH": str(tmp_path / "db.sqlite3"), "PYTHONUNBUFFERED": "1"}
    environ |= {"DJANGO_SETTINGS_MODULE": "testproject.settings"}
    command = [sys.executable, "-W", "error", "manage.py", "site", str(port)]
    for _start in range(2):  # The second finds what the first has made.
        with subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            printed = []
            for line in process.stdout:
                printed.append(line)
                if "CONTROL-C" in line:  # Django prints it once the server listens.
                    break
            try:
                assert process.poll() is None
                if _start:
                    yield f"http://127.0.0.1:{port}/", "".join(printed)
            finally:
                process.send_signal(signal.SIGINT)
                process.stdout.read()
        assert process.returncode == 0


class Links(HTMLParser):
    """The style sheets of a page, and the names of its form fields with their values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sheets: list[str] = []
        self.fields: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "link" and found.get("rel") == "stylesheet":
            self.sheets.append(str(found["href"]))
        if tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""


def test_one_command_serves_the_page_and_the_admin_with_its_style(site: tuple[str, str]) -> None:
    address, printed = site
    assert address in printed
    [(name, password)] = re.findall(r"user (\w+), password (\w+)", printed)
    browser = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(path: str, **posted: str) -> str:
        data = urlencode(posted).encode() if posted else None
        with browser.open(address + path.lstrip("/"), data, timeout=20) as response:
            assert response.status == 200
            return str(response.read().decode())

    assert "A visit counter" in get("/")
    login = Links(get("/admin/login/"))
    assert login.sheets
    sent = login.fields | {"username": name, "password": password}
    assert "Log out" in get("/admin/login/?next=/admin/", **sent)
    entries = get("/admin/django_persist/entry/")
    sheets = Links(entries).sheets
    assert "/static/django_persist/admin.css" in sheets
    for sheet in sheets:
        assert "{" in get(sheet)
    for text in ("settings:shipping", "expired", "never expires", "tries: (5)"):
        assert text in entries


@pytest.mark.django_db
def test_each_section_links_to_its_documentation_and_source(client: Client) -> None:
    text = client.get("/").text
    sections = re.findall(r'(?s)<section aria-labelledby="(\w+)">(.*?)</section>', text)
    assert [name for name, _ in sections] == list(SECTIONS)
    for name, html in sections:
        assert f'<h2 id="{name}">' in html
        links = dict(
            re.findall(r'<a href="([^"]+)">([^<]+)</a>', html.partition('class="links"')[2])
        )
        assert list(links.values()) == ["Documentation", "Source", "In the admin"]
        docs, source = list(links)[:2]
        assert client.get(docs).text == (ROOT / SECTIONS[name].docs).read_text()
        assert client.get(source)["Content-Type"] == "text/plain; charset=utf-8"
    for path in ("manage.py", "../etc/passwd", "testproject/settings.py", ""):
        assert client.get(f"/read/{path}").status_code == 404


@pytest.mark.django_db
def test_each_section_shows_what_is_in_the_store(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    client.get("/")
    client.post("/cart", {"product": "tea", "step": "1"})
    client.post("/orders", {"product": "cup"}, headers={"Idempotency-Key": '"0123456789abcdef"'})
    client.post("/links", {"note": "<hush>"})
    client.post("/knock")
    client.post("/application/who", {"name": "Ada", "email": "ada@example.org"})
    client.post("/switch", {"percent": "50"})
    client.post("/job")
    text = client.get("/").text
    for name, html in re.findall(r'(?s)<section aria-labelledby="(\w+)">(.*?)</section>', text):
        shown = re.findall(r"<dt><code>([^<]*)</code>", html)
        assert shown, name
        assert all(key.startswith(SECTIONS[name].prefix) for key in shown)
    assert "&quot;&lt;hush&gt;&quot;" in text
    assert "&quot;tea&quot;: 1" in text
    persist.set_many({f"cart:x{n}": n for n in range(10)})
    assert "In the store: 3 or more entries" in client.get("/").text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "sent", "section"),
    [
        ("/cart", {"product": "tea", "step": "1"}, "cart"),
        ("/links", {"note": "hush"}, "link"),
        ("/knock", {}, "limit"),
        ("/switch", {"percent": "50"}, "feature"),
        ("/job", {}, "job"),
    ],
)
def test_a_post_comes_back_to_its_section(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    sent: dict[str, Any],
    section: str,
) -> None:
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    response = client.post(path, sent)
    assert (response.status_code, response["Location"]) == (302, f"/#{section}")
    first, second = client.get("/").text, client.get("/").text
    # What happened is shown once.
    assert ('role="status"' in first) is (section in ("link", "limit", "job"))
    assert 'role="status"' not in second


@pytest.mark.django_db
def test_a_refused_post_keeps_its_status_and_leads_back(client: Client) -> None:
    for _knock in range(page.KNOCKS_ALLOWED):
        client.post("/knock")
    response = client.post("/knock")
    assert response.status_code == 429
    assert 'history.replaceState(null, "", "/#limit")' in response.text
    assert "replaceState" not in client.get("/").text
