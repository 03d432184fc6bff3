"""Every key has a URL that a browser doesn't change."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest

from django_persist import Store, persist
from tests.admin.conftest import LIST, Staff, put, row

KEYS = [
    *("a/b", "/", "a/../b", "..", ".", "...", "_", "_2E", "_2E_2E", "_5F", "a_b", "add", "~", "@"),
    *("a\nb", "\n", "\r", "a\r\nb", "\t", " ", "a b ", '"', "'", "%", "%2F", "%s", "?", "a?b=c#d"),
    *("\\", "a\\b", "<b>", "&amp;", ";", ":", "é", "e\u0301", "😀", "\ufeff", "\u202e", "\x01"),
    *("\U0010ffff", "k" * 255, "😀" * 255, "{}", "[1]", "1", "None", "a+b", "=", ",", "\x7f"),
    "key/change",
]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_entry_with_an_unusual_key_can_be_listed_opened_changed_and_deleted(
    sqlite_staff: Staff, key: str
) -> None:
    staff = sqlite_staff
    persist.set(key, 1)
    change_list = staff.change_list()
    assert [entry.pk for entry in change_list.result_list] == [key]
    address = change_list.url_for_result(change_list.result_list[0])
    # A browser resolves the link to the same path.
    assert urljoin("http://host" + LIST, address) == "http://host" + address
    response: Any = staff.client.get(address)
    assert response.context["original"].pk == key
    version = response.context["adminform"].form.initial["version"]
    sent = {"text": "2", "version": version}
    assert staff.client.post(address, sent).status_code == 302
    assert persist.get(key) == 2
    assert [entry.pk for entry in staff.change_list(q=key).result_list] == [key]
    start = address.removesuffix("change/")
    assert staff.client.get(start + "history/").status_code == 200
    staff.client.post(start + "delete/", {"post": "yes"})
    assert key not in persist


def test_pages_continue_after_an_unusual_key(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 1)
    database_store.set_many(dict.fromkeys(KEYS, 1))
    found, change_list = [], staff.change_list()
    while True:
        found += [entry.pk for entry in change_list.result_list]
        if not change_list.next_page:
            break
        change_list = staff.follow(change_list.next_page)
    assert found == sorted(KEYS)


def test_invalid_key_is_listed_and_can_be_deleted(staff: Staff, database_store: Store) -> None:
    put(database_store, "", "1")
    put(database_store, "k" * 300, "1")
    change_list = staff.change_list()
    assert [entry.pk for entry in change_list.result_list] == ["", "k" * 300]
    for entry in change_list.result_list:
        assert staff.client.get(change_list.url_for_result(entry)).status_code == 200
    staff.act("delete_selected", "", "k" * 300)
    assert row(database_store, "") is None
    assert row(database_store, "k" * 300) is None


@pytest.mark.parametrize("address", ["nowhere", "a%00b", "%FF", "_00", "k" * 1000])
@pytest.mark.parametrize("view", ["change", "delete", "history"])
def test_missing_entry_is_not_a_server_error(
    staff: Staff, database_store: Store, address: str, view: str
) -> None:
    response = staff.client.get(f"{LIST}{address}/{view}/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("key", ["a ", " a", " ", "\n", "a\n\nb", "-", "\t"])
def test_key_is_shown_with_its_spaces(sqlite_staff: Staff, key: str) -> None:
    persist.set(key, 1)
    shown = f'<span class="persist-key">{key}</span>'
    assert shown in sqlite_staff.page()
    assert shown in sqlite_staff.client.get(sqlite_staff.address(key)).text
