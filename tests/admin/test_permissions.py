"""Permissions, and when the admin shows entries at all."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.test import Client

from django_persist import persist
from tests.admin.conftest import LIST, LetIn
from tests.conftest import BACKENDS, OpenStore, leave_expired

CHANGE, DELETE, HISTORY = f"{LIST}key/change/", f"{LIST}key/delete/", f"{LIST}key/history/"
PAGES = (LIST, f"{LIST}add/", CHANGE, DELETE, HISTORY)


@pytest.fixture(autouse=True)
def entries(open_store: OpenStore) -> None:
    store = open_store("sqlite")
    store.set("key", {"a": 1})
    leave_expired(store, {"old": 1})


@pytest.mark.parametrize(
    ("actions", "codes"),
    [
        (["view"], [200, 403, 200, 403, 200]),
        (["add"], [403, 200, 403, 403, 403]),
        (["change"], [200, 403, 200, 403, 200]),
        (["delete"], [403, 403, 403, 200, 403]),
        (["view", "delete"], [200, 403, 200, 200, 200]),
        (["view", "add", "change", "delete"], [200, 200, 200, 200, 200]),
        ([], [200, 200, 200, 200, 200]),
    ],
    ids=lambda value: "+".join(value) if value and type(value[0]) is str else None,
)
def test_pages_require_their_permission(
    let_in: LetIn, actions: list[str], codes: list[int]
) -> None:
    client = let_in(*actions).client
    assert [client.get(page).status_code for page in PAGES] == codes


@pytest.mark.parametrize("actions", [["view"], ["view", "add"], ["view", "delete"]])
def test_view_permission_shows_everything_and_changes_nothing(
    let_in: LetIn, actions: list[str]
) -> None:
    staff = let_in(*actions)
    response: Any = staff.client.get(CHANGE)
    assert '<pre class="persist-value">{\n  &quot;a&quot;: 1\n}</pre>' in response.text
    assert "<textarea" not in response.text
    assert 'name="_save"' not in response.text
    assert "never expires" in response.text
    sent = {"text": "2", "version": response.context["adminform"].form.initial["version"]}
    assert staff.client.post(CHANGE, sent).status_code == 403
    assert persist.get("key") == {"a": 1}
    assert staff.page().count('class="field-exact_key"') == 2


@pytest.mark.parametrize(
    ("actions", "offered"),
    [
        (["view"], []),
        (["view", "change", "add"], []),
        (["view", "delete"], ["delete_expired", "delete_selected"]),
    ],
)
def test_actions_require_their_permission(
    let_in: LetIn, actions: list[str], offered: list[str]
) -> None:
    staff = let_in(*actions)
    form = staff.client.get(LIST).context.get("action_form")
    choices = [name for name, _ in form.fields["action"].choices if name] if form else []
    assert sorted(choices) == offered
    staff.act("delete_expired")
    staff.act("delete_selected", "key")
    assert persist.driver.expired() == (0 if offered else 1)
    assert ("key" in persist) is not bool(offered)


def test_anonymous_users_are_redirected_to_the_login() -> None:
    for page in PAGES:
        response = Client().get(page)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_list_leads_to_another_store_if_none_uses_a_database(let_in: LetIn, settings: Any) -> None:
    client = let_in("view").client
    assert LIST in client.get("/admin/").text
    settings.PERSIST = {"default": BACKENDS["memory"], "second": BACKENDS["sqlite"]}
    assert client.get(LIST).status_code == 200
    settings.PERSIST = {"default": BACKENDS["memory"]}
    assert LIST in client.get("/admin/").text
    response = client.get(LIST)
    assert (response.status_code, response["Location"]) == (302, f"{LIST}store/default/")
    assert let_in("add").client.get(LIST).status_code == 403


WITHOUT = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django_persist"], SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.core.management import call_command
from django_persist import persist
call_command("check")
call_command("migrate", verbosity=0)
persist.set("key", 1)
assert persist.get("key") == 1
print(sorted(name for name in sys.modules if "admin" in name.split(".")))
"""


def test_admin_is_not_imported_unless_it_is_installed() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"
