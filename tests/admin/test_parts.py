"""The filter by the first part of the key, and the search for a text anywhere in it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.admin import listing, parts
from tests.admin.conftest import LIST, Staff, driver_of
from tests.conftest import leave_expired
from tests.drivers.database.test_plans import assert_in_key_order, filled


def listed(staff: Staff, **query: str) -> list[str]:
    """Return what the filter lists, without "All"."""
    response: Any = staff.client.get(LIST, query)
    assert response.status_code == 200
    specs = [each for each in response.context["cl"].filter_specs if each.title == TITLE]
    return [str(title) for spec in specs for _value, title in spec.lookup_choices]


TITLE = parts.PartFilter.title


def test_filter_lists_first_parts_with_their_counts(staff: Staff, database_store: Store) -> None:
    assert listed(staff) == []
    assert "By first part" not in staff.page()
    names = ["a", "aa:1:2", "aa:3", "a:1", ":empty", "Ä:1", "\U0010ffff:1", "z", "b%_:<i>"]
    database_store.set_many(dict.fromkeys(names, 1))
    leave_expired(database_store, {"aa:4": 1})
    expected = [":", "a:", "aa:", "b%_:", "Ä:", "\U0010ffff:"]
    assert listed(staff) == [f"{part} ({3 if part == 'aa:' else 1})" for part in expected]
    assert "By first part" in staff.page()
    assert staff.keys(part="aa:") == ["aa:1:2", "aa:3", "aa:4"]
    assert staff.keys(part="aa:", state="expired") == ["aa:4"]
    assert staff.keys(part="aa:", state="never", q="aa:3") == ["aa:3"]
    assert staff.keys(part="b%_:") == ["b%_:<i>"]
    assert staff.keys(part="\U0010ffff:") == ["\U0010ffff:1"]
    assert "<i>" not in staff.page()


def test_chosen_part_is_shown_even_if_no_key_has_it(sqlite_staff: Staff) -> None:
    """Otherwise the list would be empty for no visible reason, or not be filtered."""
    from django_persist import persist

    persist.set("a:1", 1)
    assert listed(sqlite_staff, part="gone:") == ["a: (1)", "gone: (0)"]
    assert sqlite_staff.keys(part="gone:") == []
    assert 'class="selected"' in sqlite_staff.page(part="gone:")
    assert sqlite_staff.client.get(LIST, {"part": "\0"}).status_code == 302


def test_counts_and_parts_end_at_a_limit(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "COUNTED", 5)
    monkeypatch.setattr(parts, "LISTED", 3)
    database_store.set_many(dict.fromkeys([f"a:{n}" for n in range(6)], 1))
    database_store.set_many(dict.fromkeys([f"b:{n}" for n in range(5)], 1))
    database_store.set("c:1", 1)
    assert listed(staff) == ["a: (5+)", "b: (5)", "c: (1)"]
    assert "There are more parts." not in staff.page()
    database_store.set("d:1", 1)
    assert listed(staff) == ["a: (5+)", "b: (5)", "c: (1)"]
    assert "There are more parts." in staff.page()


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_parts_are_found_between_keys_without_one(
    sqlite_staff: Staff, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    from django_persist import persist

    monkeypatch.setattr(parts, "BATCH", batch)
    plain = [f"{letter}{n}" for letter in "acegi" for n in range(5)]
    persist.set_many(dict.fromkeys([*plain, "b:1", "b:2", "d:1", "f:1", "h:1", "j:1"], 1))
    assert [text[:2] for text in listed(sqlite_staff)] == ["b:", "d:", "f:", "h:", "j:"]
    monkeypatch.setattr(parts, "STEPS", 2)
    expected = {100: 5, 3: 1}.get(batch, 0)
    assert len(listed(sqlite_staff)) == expected
    assert ("There are more parts." in sqlite_staff.page(part="b:")) is (batch != 100)


def found(staff: Staff, **query: str) -> tuple[list[str], str | None]:
    change_list = staff.change_list(**query)
    return [entry.pk for entry in change_list.result_list], change_list.looked_up_to


@pytest.mark.parametrize(
    ("term", "keys"),
    [
        ("*tea", ["a:tea", "tea", "tea%"]),
        ("*%", ["tea%"]),
        ("*_", ["b_c"]),
        ("*Q", ["Q"]),
        ("*é", ["é"]),
        ("**", ["*", "a*"]),
        ("*", ["*"]),
        ("* ", [" x "]),
        ("*';", ["'; DROP TABLE x"]),
        ("*nothing", []),
    ],
)
def test_search_anywhere_is_exact(
    staff: Staff, database_store: Store, term: str, keys: list[str]
) -> None:
    names = ["a:tea", "tea", "tea%", "b_c", "Q", "q", "é", "*", "a*", " x ", "'; DROP TABLE x"]
    database_store.set_many(dict.fromkeys(names, 1))
    if term == "* ":
        keys = [" x ", "'; DROP TABLE x"]
    assert found(staff, q=term) == (keys, None)


def test_search_anywhere_says_how_far_it_looked(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED", 10)
    monkeypatch.setattr("django_persist.admin.options.LOOKED", 10)
    database_store.set_many(dict.fromkeys([f"k:{n:02}" for n in range(25)], 1))
    database_store.set("other:1", 1)
    assert found(staff, q="*r:") == ([], "k:09")
    page = staff.page(q="*r:")
    assert '10 keys were searched, up to <span class="persist-key">k:09</span>' in page
    change_list = staff.change_list(q="*r:")
    assert change_list.further_link == change_list.next_page
    second = staff.follow(change_list.further_link)
    assert second.result_list == []
    assert second.looked_up_to == "k:19"
    last = staff.follow(second.further_link)
    assert ([entry.pk for entry in last.result_list], last.looked_up_to) == (["other:1"], None)
    # And back again, from the last page.
    back = staff.follow(staff.change_list(q="*r:").last_page)
    assert ([entry.pk for entry in back.result_list], back.looked_up_to) == (["other:1"], "k:16")
    earlier = staff.follow(back.further_link)
    assert (earlier.result_list, earlier.looked_up_to) == ([], "k:06")
    # A part is all that has to be searched.
    assert found(staff, q="*r:", part="other:") == (["other:1"], None)


@pytest.mark.parametrize("state", ["", "live", "never"])
def test_search_anywhere_fills_its_pages(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(listing, "LOOKED", 10)
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 3)
    leave_expired(database_store, {"k:01": 1, "k:20": 1})
    names = [f"k:{n:02}" for n in range(30) if n not in (1, 20)]
    database_store.set_many(dict.fromkeys(names, 1))
    expected = [f"k:{n:02}" for n in range(30) if n % 10 < 5 and (not state or n not in (1, 20))]
    database_store.remove_many([name for name in names if int(name[-1]) > 4])
    database_store.set_many({name.replace(":", "-"): 1 for name in names})
    seen, change_list = [], staff.change_list(q="*:", state=state)
    for _page in range(30):
        keys = [entry.pk for entry in change_list.result_list]
        assert len(keys) <= 3
        seen += keys
        if not change_list.next_page:
            break
        change_list = staff.follow(change_list.next_page)
    assert seen == expected


def test_list_offers_to_search_anywhere(sqlite_staff: Staff) -> None:
    from django_persist import persist

    persist.set_many({"cart:tea": 1, "tea": 1})
    change_list = sqlite_staff.change_list(q="tea", state="live")
    wider = sqlite_staff.follow(change_list.anywhere_link)
    assert [entry.pk for entry in wider.result_list] == ["cart:tea", "tea"]
    assert "anywhere in the keys" in sqlite_staff.page(q="tea")
    assert "anywhere in the keys" not in sqlite_staff.page(q="*tea")
    assert "anywhere in the keys" not in sqlite_staff.page()


def test_queries_of_a_large_table_use_the_primary_key(staff: Staff, database_store: Store) -> None:
    connection = connections[driver_of(database_store).using]
    with filled(connection) as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE django_persist_entry")
        elif connection.vendor == "mysql":
            cursor.execute("ANALYZE TABLE django_persist_entry")
        assert listed(staff) == ["page: (1,000+)"]
        for query in ({}, {"q": "*9"}, {"q": "*x"}, {"p": "<", "q": "*x"}, {"part": "page:"}):
            with CaptureQueriesContext(connection) as captured:
                staff.keys(**query)
            executed = [each["sql"] for each in captured if "persist_entry" in each["sql"]]
            assert 4 <= len(executed) <= 6
            for sql in executed:
                assert "LIMIT" in sql
                assert_in_key_order(driver_of(database_store), sql)
