"""Actions on the list of entries."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from tests.admin.conftest import LIST, Staff, driver_of, row
from tests.conftest import leave_expired


@pytest.fixture
def entries(database_store: Store) -> Store:
    leave_expired(database_store, {f"old:{n}": n for n in range(5)})
    database_store.set_many({"new": 1}, expires=600)
    database_store.set_many({"permanent": 1, "permanent 2": 2})
    return database_store


@pytest.mark.parametrize("selected", [[], ["new"], ["old:1"]])
def test_delete_expired_ignores_the_selection(
    staff: Staff, entries: Store, selected: list[str]
) -> None:
    assert staff.act("delete_expired", *selected) == ["5 expired entries were deleted."]
    assert entries.driver.expired() == 0
    assert staff.keys() == ["new", "permanent", "permanent 2"]
    assert staff.act("delete_expired") == ["0 expired entries were deleted."]


def test_delete_expired_works_in_batches_and_stops_after_a_time(
    staff: Staff, entries: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_persist.admin.options.CHUNK", 2)
    monkeypatch.setattr("django_persist.admin.options.PURGE_SECONDS", 0)
    [message] = staff.act("delete_expired")
    assert message == "2 expired entries were deleted. There may be more: run the action again."
    assert entries.driver.expired() == 3
    monkeypatch.undo()
    assert staff.act("delete_expired") == ["3 expired entries were deleted."]


def test_delete_expired_ignores_the_filter(staff: Staff, entries: Store) -> None:
    sent = {"action": "delete_expired", "index": "0", "post": "yes"}
    staff.client.post(f"{LIST}?state=never&q=perm", sent)
    assert entries.driver.expired() == 0


@pytest.mark.parametrize("selected", [[], ["new"]])
def test_delete_expired_asks_first(staff: Staff, entries: Store, selected: list[str]) -> None:
    sent: Any = {"action": "delete_expired", "index": "0", "_selected_action": selected}
    response = staff.client.post(LIST, sent)
    assert response.status_code == 200
    assert "5 entries have expired." in response.text
    assert "new" not in response.text.partition('id="content"')[2].partition("<form")[0]
    assert entries.driver.expired() == 5
    # What the page's own form submits.
    [form] = re.findall(r'(?s)<form method="post">(.*?)</form>', response.text)
    inputs = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    inputs.pop("csrfmiddlewaretoken")
    assert staff.client.post(LIST, inputs).status_code == 302
    assert entries.driver.expired() == 0
    assert entries.get("new") == 1


@pytest.mark.parametrize("index", ["0", "1", "x", "-1", "9", ""])
def test_only_delete_expired_runs_without_a_selection(
    staff: Staff, entries: Store, index: str
) -> None:
    """A page can have two action menus. The index says which of them was submitted."""
    sent: Any = {"action": ["delete_expired", "delete_selected"], "index": index}
    staff.client.post(LIST, sent | {"post": "yes"})
    assert len(staff.keys()) == (3 if index == "0" else 8)
    assert entries.get("new") == 1


def test_delete_selected_entries(staff: Staff, entries: Store) -> None:
    sent = {"action": "delete_selected", "_selected_action": ["new", "old:1"]}
    page = staff.client.post(LIST, sent).text
    assert "old:1" in page
    assert "permanent" not in page
    with CaptureQueriesContext(connections[driver_of(entries).using]) as queries:
        assert "Successfully deleted 2 entries." in staff.act("delete_selected", "new", "old:1")
    # Deleting reads no whole value.
    executed = [query["sql"] for query in queries if "expires_at" in query["sql"]]
    assert all("SUBSTR" in sql for sql in executed if sql.startswith("SELECT"))
    assert "new" not in entries
    assert row(entries, "old:1") is None
    assert len(staff.keys()) == 6
    assert sorted(name for name, _ in staff.log()) == ["new", "old:1"]


def test_selection_is_limited_to_one_page(staff: Staff, entries: Store) -> None:
    assert "across all pages" not in staff.page()
    sent = {"action": "delete_selected", "_selected_action": ["new"], "select_across": "1"}
    page: Any = staff.client.post(LIST + "?state=live", sent)
    assert "old:1" not in page.text


def test_delete_one_entry(staff: Staff, entries: Store) -> None:
    staff.client.post(staff.address("new", "delete"), {"post": "yes"})
    assert "new" not in entries
    assert staff.log() == [("new", "")]


def test_a_selection_across_pages_is_not_taken(staff: Staff, entries: Store) -> None:
    """The list offers none. A crafted request would load the whole table into one page."""
    sent: Any = {"action": "delete_selected", "select_across": "1", "_selected_action": ["new"]}
    response = staff.client.post(LIST, sent)
    assert "permanent" not in response.text
    staff.client.post(LIST, sent | {"post": "yes"})
    assert staff.keys() == [*(f"old:{n}" for n in range(5)), "permanent", "permanent 2"]
