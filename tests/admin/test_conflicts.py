"""The form never overwrites a change that was made after it was opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from django_persist import KEEP, Store, persist
from django_persist.admin import EntryAdmin
from django_persist.exceptions import ContentionError
from tests.admin.conftest import LIST, Staff, driver_of, fields, row
from tests.conftest import Elapse, leave_expired
from tests.processes import race

CHANGES: dict[str, Callable[[Store], object]] = {
    "another value": lambda store: store.set("key", {"n": 2}, expires=600),
    "another expiry": lambda store: store.touch("key", 900),
    "no expiry": lambda store: store.touch("key", None),
    "the same value in other bytes": lambda store: store.set("key", {"n": 1.0}, expires=KEEP),
    "deleted and made again": lambda store: store.remove("key") and store.incr("key", 7),
    "deleted": lambda store: store.remove("key"),
}


@pytest.fixture
def entry(database_store: Store, elapse: Elapse) -> Store:
    database_store.set("key", {"n": 1}, expires=600)
    return database_store


def conflict(errors: dict[str, list[str]]) -> str:
    """Return the error about a conflict, which is the only error of the form."""
    assert list(errors) == ["__all__"]
    [message] = errors["__all__"]
    return message


@pytest.mark.parametrize("change", CHANGES)
def test_entry_changed_since_it_was_opened_is_not_overwritten(
    staff: Staff, entry: Store, change: str
) -> None:
    sent = staff.open("key")
    CHANGES[change](entry)
    before = row(entry, "key")
    for edit in ({"text": '{"n": 3}'}, {"expires_at_0": "", "expires_at_1": ""}, {}):
        message = conflict(staff.save("key", sent | edit))
        assert "Nothing was saved." in message
        assert ("was deleted" if change == "deleted" else "has changed") in message
        assert row(entry, "key") == before
    assert staff.log() == []


def test_conflict_page_keeps_the_input_and_shows_the_current_value(
    staff: Staff, entry: Store
) -> None:
    sent = staff.open("key")
    entry.set("key", "by <b> another")
    response: Any = staff.client.post(staff.address("key"), sent | {"text": '"typed <b>"'})
    assert "&quot;typed &lt;b&gt;&quot;</textarea>" in response.text
    assert '<pre class="persist-value">&quot;by &lt;b&gt; another&quot;</pre>' in response.text
    assert '<a href="">Open the current entry.</a>' in response.text
    # What is saved from that page replaces the value that it shows, and no later one.
    again = fields(response.context["adminform"].form)
    entry.set("key", "by a third")
    assert "by a third" in conflict(staff.save("key", again))
    entry.set("key", "by <b> another", expires=KEEP)
    assert conflict(staff.save("key", sent | {"text": '"typed"'}))
    response = staff.client.post(staff.address("key"), sent | {"text": '"typed"'})
    assert staff.save("key", fields(response.context["adminform"].form)) is None
    assert entry.get("key") == "typed"


def test_entry_that_expired_since_it_was_opened_does_not_come_back(
    staff: Staff, entry: Store, elapse: Elapse
) -> None:
    sent = staff.open("key")
    elapse(entry, 601)
    for edit in ({}, {"expires_at_0": "", "expires_at_1": ""}):
        assert "has expired since" in conflict(staff.save("key", sent | edit))
    assert "key" not in entry


def test_form_without_the_current_version_is_refused(staff: Staff, entry: Store) -> None:
    sent = staff.open("key") | {"text": "2"}
    for version in ("", "0" * 64):
        conflict(staff.save("key", sent | {"version": version}))
    assert entry.get("key") == {"n": 1}


def test_removed_entry_cannot_be_opened(staff: Staff, entry: Store) -> None:
    entry.remove("key")
    assert staff.client.get(staff.address("key")).status_code == 302
    assert staff.client.post(staff.address("key", "delete"), {"post": "yes"}).status_code == 302
    assert staff.log() == []


def test_entry_that_became_too_large_for_a_form_is_not_overwritten(
    staff: Staff, entry: Store
) -> None:
    sent = staff.open("key")
    entry.set("key", "x" * 3_000_000)
    assert "has changed" in conflict(staff.save("key", sent | {"text": "2"}))
    assert entry.get("key") == "x" * 3_000_000


# Changes between the check of the form and the write.


class EntryRouter:
    """Makes the admin open its transaction on the database that has the entries."""

    using = "default"

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return self.using if model.__name__ == "Entry" else None


@pytest.fixture(params=["outside a transaction", "in its transaction"])
def between(
    request: pytest.FixtureRequest,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    entry: Store,
) -> Callable[[Callable[[Store], object]], list[int]]:
    """Return a function that makes another connection write just before the form is saved."""
    if request.param == "in its transaction":
        monkeypatch.setattr(EntryRouter, "using", driver_of(entry).using)
        settings.DATABASE_ROUTERS = ["tests.admin.test_conflicts.EntryRouter"]
    save, calls = EntryAdmin.save_model, [0]

    def between_(write: Callable[[Store], object], times: int = 1) -> list[int]:
        def in_a_thread() -> None:
            write(entry)
            connections.close_all()

        def save_model(self: EntryAdmin, *args: Any) -> None:
            calls[0] += 1
            if calls[0] <= times:
                thread = Thread(target=in_a_thread)
                thread.start()
                thread.join()
            save(self, *args)

        monkeypatch.setattr(EntryAdmin, "save_model", save_model)
        return calls

    return between_


@pytest.mark.parametrize("change", CHANGES)
def test_write_between_check_and_save_is_not_lost(
    staff: Staff, entry: Store, between: Any, change: str
) -> None:
    sent = staff.open("key")
    calls = between(CHANGES[change])
    conflict(staff.save("key", sent | {"text": '{"n": 3}'}))
    assert calls == [1]
    expected = {"deleted": None, "no expiry": ('{"n":1}', None)}
    if change in expected:
        assert row(entry, "key") == expected[change]
    assert entry.get("key") != {"n": 3}
    assert staff.log() == []


def test_entry_created_between_check_and_save_is_not_overwritten(
    staff: Staff, entry: Store, between: Any
) -> None:
    between(lambda store: store.create("new", "written by another"))
    assert list(staff.add("new", "1")) == ["key"]
    assert entry.get("new") == "written by another"
    assert staff.log() == []


def test_entry_that_expires_between_check_and_save_does_not_come_back(
    staff: Staff, entry: Store, elapse: Elapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = EntryAdmin.save_model

    def save_model(self: EntryAdmin, *args: Any) -> None:
        elapse(entry, 601)
        save(self, *args)

    sent = staff.open("key") | {"expires_at_0": "", "expires_at_1": ""}
    monkeypatch.setattr(EntryAdmin, "save_model", save_model)
    assert "has expired since" in conflict(staff.save("key", sent))
    assert "key" not in entry


def test_writes_to_other_entries_do_not_conflict(staff: Staff, entry: Store, between: Any) -> None:
    sent = staff.open("key")
    between(lambda store: store.incr("other"), times=3)
    assert staff.save("key", sent | {"text": "3"}) is None
    assert (entry.get("key"), entry.get("other")) != (None, None)
    assert staff.log() == [("key", "Changed Value.")]


def test_save_that_keeps_losing_raises_contention_error(
    sqlite_staff: Staff, monkeypatch: Any
) -> None:
    persist.set("key", 1)
    sent = sqlite_staff.open("key") | {"text": "2"}

    def lose(self: EntryAdmin, *args: Any) -> None:
        raise ContentionError("lost")

    monkeypatch.setattr(EntryAdmin, "save_model", lose)
    with pytest.raises(ContentionError):
        sqlite_staff.save("key", sent)
    assert persist.get("key") == 1


def save_at_once(i: int, session: str, address: str, sent: dict[str, str]) -> int:
    client = Client()
    client.cookies["sessionid"] = session
    return client.post(address, sent | {"text": str(i)}).status_code


@pytest.mark.parametrize("key", ["key", "old", "new"])
def test_one_of_many_concurrent_saves_succeeds(staff: Staff, entry: Store, key: str) -> None:
    leave_expired(entry, {"old": 1})
    address, sent = LIST + "add/", {"key": key}
    if key == "key":
        address, sent = staff.address(key), staff.open(key)
    codes = race(save_at_once, staff.client.cookies["sessionid"].value, address, sent)
    assert sorted(codes) == [200] * 5 + [302]
    assert entry.get(key) == codes.index(302)
    assert len(staff.log()) == 1


def test_no_increment_is_lost_while_the_form_saves(staff: Staff, database_store: Store) -> None:
    database_store.set("count", 1000)
    codes = race(count_or_save, staff.client.cookies["sessionid"].value, staff.address("count"))
    saved = sum(code for code in codes if code is not None)
    assert database_store.get("count") == 1000 + 5 * 50 + 10_000 * saved
    assert saved > 0


def count_or_save(i: int, session: str, address: str) -> int | None:
    """Increment the count 50 times; in process 0 save count + 10,000 in the form instead.

    Returns how often the form was saved, which it is at least once, or None.
    """
    if i:
        for _n in range(50):
            persist.incr("count")
        return None
    client, saved = Client(), 0
    client.cookies["sessionid"] = session
    for n in range(1000):
        if n >= 20 and saved:
            break
        page = client.get(address).text
        [count] = re.findall(r"<textarea[^>]*>\s*(\d+)</textarea>", page)
        [version] = re.findall(r'name="version" value="(\w+)"', page)
        sent = {"text": str(int(count) + 10_000), "version": version}
        saved += client.post(address, sent).status_code == 302
    return saved


# Requests that no page of the admin makes.


def test_a_missing_entry_cannot_be_deleted_by_a_crafted_request(staff: Staff, entry: Store) -> None:
    address = staff.address("missing", "delete")
    for sent in ({"post": "yes"}, {"post": "yes", "version": ""}, {"post": "yes", "version": "x"}):
        response: Any = staff.client.post(address, sent, follow=True)
        assert "doesn’t exist. Perhaps it was deleted?" in response.text
        assert "was deleted successfully" not in response.text
    assert staff.log() == []


@pytest.mark.parametrize("version", ["", "x"])
def test_a_missing_entry_cannot_be_changed_by_a_crafted_request(
    staff: Staff, entry: Store, version: str
) -> None:
    sent = {"text": "1", "expires_at_0": "", "expires_at_1": "", "version": version}
    assert "was deleted after you opened it" in conflict(staff.save("missing", sent))
    assert staff.log() == []
    assert "missing" not in entry
