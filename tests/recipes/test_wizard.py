"""The wizard recipe: answers outlive the session, merge, and are submitted once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from django_persist import Store, persist
from django_persist.testing import override_persist
from testproject.site.recipes.wizard import (
    APPLICATION,
    COOKIE,
    NUMBER,
    Application,
    review,
    token_of,
    wizard,
)
from tests.processes import race
from tests.recipes.conftest import Advance
from tests.recipes.helpers import EIGHT, make_request

ROOT = Path(__file__).parents[2]
WHO = {"name": "Ada", "email": "ada@example.com"}
DAY = 24 * 3600


def application(client: Client) -> Application | None:
    request = make_request("GET")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    return persist.get(APPLICATION(token=token_of(request)))


def test_it_goes_from_step_to_step_and_is_submitted(store: Store, client: Client) -> None:
    response = client.post("/application/who", WHO, follow=True)
    assert response.redirect_chain[-1] == ("/application/plan", 302)
    response = client.post("/application/plan", {"plan": "large"}, follow=True)
    assert response.redirect_chain == [("/application/review", 302)]
    assert "ada@example.com" in response.text
    assert "Large" in response.text
    assert application(client) == Application("Ada", "ada@example.com", "large")
    assert '<strong id="application-number">1</strong>' in client.post("/application/review").text
    assert application(client) is None
    assert "was submitted already" in client.post("/application/review").text
    assert store.get(NUMBER) == 1


def test_the_template_on_its_page_stands_alone(client: Client, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/wizard-state.md").read_text()
    (template,) = re.findall(r"(?s)```html\n(.*?)```", page)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/wizard.html").write_text(template)
    templates = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    with override_persist(), override_settings(TEMPLATES=templates):
        assert '<input type="text" name="name"' in client.get("/application/who").text
        client.post("/application/who", WHO)
        answers = client.post("/application/plan", {"plan": "large"}, follow=True).text
        assert "Ada, ada@example.com, large" in answers
        assert 'href="/application/who"' in answers
        assert "Submitted as application number 1." in client.post("/application/review").text
        assert "There is nothing to submit" in client.post("/application/review").text


def test_it_outlives_the_session_and_the_browser(
    store: Store, client: Client, advance: Advance
) -> None:
    client.post("/application/who", WHO)
    assert int(client.cookies[COOKIE]["max-age"]) == 30 * DAY
    client.cookies.pop(settings.SESSION_COOKIE_NAME, None)
    advance(29 * DAY)
    assert 'value="Ada"' in client.get("/application/who").text
    client.post("/application/plan", {"plan": "small"})  # The thirty days start again.
    advance(29 * DAY)
    assert application(client) == Application("Ada", "ada@example.com", "small")
    advance(2 * DAY)
    assert application(client) is None
    assert client.get("/application/review")["Location"] == "/application/who"


def test_a_user_can_go_back_and_change_an_answer(store: Store, client: Client) -> None:
    client.post("/application/who", WHO)
    client.post("/application/plan", {"plan": "large"})
    assert 'value="Ada"' in client.get("/application/who").text
    client.post("/application/who", {**WHO, "name": "Grace"})
    assert application(client) == Application("Grace", "ada@example.com", "large")


def test_nothing_invalid_is_kept_and_nothing_incomplete_is_submitted(
    store: Store, client: Client
) -> None:
    response = client.post("/application/who", {"name": "Ada", "email": "nowhere"})
    assert response.status_code == 200
    assert "valid email" in response.text
    assert store.count() == 0
    client.post("/application/plan", {"plan": "large"})
    assert client.post("/application/review")["Location"] == "/application/who"
    assert application(client) == Application(plan="large")
    assert client.get("/application/nothing").status_code == 404


def test_a_forged_cookie_opens_nothing(store: Store, client: Client) -> None:
    store.create(APPLICATION(token="others"), Application("Ada"))
    client.cookies[COOKIE] = "others"
    assert "Ada" not in client.get("/application/who").text
    client.post("/application/plan", {"plan": "small"})
    assert store.get(APPLICATION(token="others")) == Application("Ada")
    assert store.count("application:") == 2


def answer(i: int, cookie: str) -> int:
    """Answer one step repeatedly, as one of two tabs; return how often the answer was lost."""
    lost = 0
    for n in range(25):
        step, new = ("plan", ["small", "large"][n % 2]) if i % 2 else ("who", f"{i}.{n}")
        data = {"plan": new} if i % 2 else {"name": new, "email": "ada@example.com"}
        request = make_request("POST", "/", data)
        request.COOKIES[COOKIE] = cookie
        assert wizard(request, step).status_code == 302
        saved = persist.get(APPLICATION(token=token_of(request)))
        assert saved is not None
        lost += (saved.plan if i % 2 else saved.name) != new
    return lost


def started(client: Client) -> str:
    client.post("/application/who", WHO)
    client.post("/application/plan", {"plan": "small"})
    return client.cookies[COOKIE].value


def test_two_tabs_do_not_undo_each_others_steps(shared_store: Store, client: Client) -> None:
    assert race(answer, started(client), processes=2) == [0, 0]


def submit(i: int, cookies: list[str]) -> list[int]:
    submitted = []
    for n, cookie in enumerate(cookies):
        request = make_request("POST")
        request.COOKIES[COOKIE] = cookie
        if "application-number" in review(request).content.decode():
            submitted.append(n)
    return submitted


def test_one_of_eight_processes_submits_an_application(shared_store: Store) -> None:
    cookies = [started(Client()) for _ in range(20)]
    submitted = race(submit, cookies, processes=EIGHT)
    assert sorted(n for each in submitted for n in each) == list(range(20))
    assert shared_store.get(NUMBER) == 20


@pytest.mark.parametrize("step", ["who", "plan"])
def test_answers_are_escaped(store: Store, client: Client, step: str) -> Any:
    client.post("/application/who", {**WHO, "name": '<script>"'})
    client.post("/application/plan", {"plan": "small"})
    for page in (client.get(f"/application/{step}"), client.get("/application/review")):
        assert "<script>&quot;" not in page.text
        assert '<script>"' not in page.text
