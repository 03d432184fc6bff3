"""The list of entries."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.admin import listing
from django_persist.admin.listing import EntryChangeList
from tests.admin.conftest import LIST, Staff, driver_of, put
from tests.conftest import Elapse, leave_expired
from tests.drivers.database.test_plans import assert_in_key_order, filled

STATES = ("live", "expired", "never")


def cell(page: str, name: str) -> str:
    """Return the HTML of the only cell in a column."""
    [found] = re.findall(rf'class="field-{name}[^"]*">(.*?)</t[dh]>', page, re.DOTALL)
    return str(found)


def test_list_shows_key_size_value_and_time_left(staff: Staff, database_store: Store) -> None:
    database_store.set("cart:4", {"tee": "grün"}, expires=3 * 3600 + 60)
    page = staff.page()
    assert ">cart:4<" in cell(page, "exact_key")
    assert "&quot;tee&quot;:&quot;grün&quot;" in cell(page, "short_value")
    assert 'title="15 bytes"' in cell(page, "size")
    assert "15\xa0bytes" in cell(page, "size")
    item = database_store.get_item("cart:4")
    assert item is not None
    assert item.expires_at is not None
    left = cell(page, "time_left")
    assert "in 3\xa0hours<" in left
    shown = re.search(r'datetime="([^"]+)" title="([^"]+)"', left)
    assert shown
    assert datetime.fromisoformat(shown[1]) == datetime.fromisoformat(shown[2]) == item.expires_at
    assert "1 entry" in page


@pytest.mark.parametrize(
    ("expires", "text"),
    [(None, "never expires"), (30, "in less than a minute"), (130, "in 2\xa0minutes")],
)
def test_time_left_is_shown_in_words(sqlite_staff: Staff, expires: Any, text: str) -> None:
    from django_persist import persist

    persist.set("key", 1, expires=expires)
    assert text in cell(sqlite_staff.page(), "time_left")


def test_expiry_is_shown_in_the_time_zone_of_the_project(
    settings: Any, staff: Staff, database_store: Store
) -> None:
    database_store.set("key", 1, expires=datetime(2999, 7, 1, 12, tzinfo=UTC))
    for settings.USE_TZ in (True, False):
        settings.TIME_ZONE = "Asia/Tokyo"
        assert 'title="2999-07-01 21:00:00+09:00"' in cell(staff.page(), "time_left")


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "less than a minute"), (130, "2\xa0minutes"), (7200, "2\xa0hours")]
)
def test_expired_entry_is_shown_as_expired(
    staff: Staff, database_store: Store, elapse: Elapse, seconds: int, text: str
) -> None:
    database_store.set("old", 1, expires=5)
    elapse(database_store, 5 + seconds)
    assert f'persist-expired">expired {text} ago<' in cell(staff.page(), "time_left")


@pytest.mark.parametrize("text", ["{oops", "", "[1, 2", "\\x00", "NaN", "<script>", "{'a': 1}"])
def test_list_marks_a_corrupt_entry(staff: Staff, database_store: Store, text: str) -> None:
    put(database_store, "broken", text)
    database_store.set("whole", 1)
    assert staff.keys() == ["broken", "whole"]
    column = r'(?s)broken<.*?class="field-short_value">(.*?)</td>'
    [value] = re.findall(column, staff.page())
    assert "Not JSON:" in value
    assert "<script>" not in value
    assert staff.page().count("Not JSON:") == 1


def test_list_marks_a_value_that_is_not_utf_8_as_corrupt(
    sqlite_staff: Staff, settings: Any
) -> None:
    from django_persist import stores

    put(stores["default"], "broken", b'"\xff\xfe"')
    assert "Not JSON:" in cell(sqlite_staff.page(), "short_value")
    assert "not JSON" in sqlite_staff.client.get(sqlite_staff.address("broken")).text


def test_keys_and_values_are_escaped(staff: Staff, database_store: Store) -> None:
    database_store.set("<b>&\"'", {"<script>alert(1)</script>": "</code>"})
    page = staff.page()
    assert "<b>&" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in cell(page, "short_value")
    form = staff.client.get(staff.address("<b>&\"'")).text
    assert "<script>alert" not in form
    assert "</code>" not in form


def test_long_value_is_truncated_in_the_database(staff: Staff, database_store: Store) -> None:
    long = "é" * 3_000_000
    database_store.set("long", long)
    with CaptureQueriesContext(connections[driver_of(database_store).using]) as queries:
        [entry] = staff.change_list().result_list
    assert len(entry.raw) <= 4096
    assert entry.size == 6_000_002
    assert all("SUBSTR" in q["sql"] for q in queries if '"value"' in q["sql"].lower())
    page = staff.page()
    assert len(page) < 20_000
    assert "5.7\xa0MB" in cell(page, "size")
    assert f"{'é' * 198}…" in cell(page, "short_value")


# States and search.


@pytest.fixture
def many(database_store: Store) -> Store:
    """Entries in all states, stored in an order that is not the order of their keys."""
    numbers = sorted(range(60), key=lambda n: n * 7 % 60)
    leave_expired(database_store, {f"k:{n:02}": n for n in numbers if n % 3 == 0})
    database_store.set_many({f"k:{n:02}": n for n in numbers if n % 3 == 1}, expires=600)
    database_store.set_many({f"k:{n:02}": n for n in numbers if n % 3 == 2})
    return database_store


EXPECTED = {
    "live": [n for n in range(60) if n % 3],
    "expired": list(range(0, 60, 3)),
    "never": list(range(2, 60, 3)),
    "": list(range(60)),
    "nonsense": list(range(60)),
}


@pytest.fixture
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many entries count as few: with 1, a state filter takes the way for many entries."""
    few: int = request.param
    monkeypatch.setattr(listing, "FEW", few)
    return few


WAYS = [
    pytest.param(state, few, id=f"{state}-{'many' if few == 1 else 'few'}")
    for state in STATES
    for few in (1, 10_000)
]
"""Each state filter in both ways. Without a state filter there is only one way."""


@pytest.mark.parametrize(
    ("state", "few"), [*WAYS, ("", 10_000), ("nonsense", 10_000)], indirect=["few"]
)
def test_state_filter(staff: Staff, many: Store, few: int, state: str) -> None:
    expected = EXPECTED[state]
    assert staff.keys(state=state) == [f"k:{n:02}" for n in expected]
    found = [f"k:{n:02}" for n in expected if n // 10 == 3]
    assert staff.keys(state=state, q="k:3") == found


@pytest.mark.parametrize(("state", "few"), [*WAYS, ("", 10_000)], indirect=["few"])
def test_pages_continue_where_the_previous_page_ended(
    staff: Staff, many: Store, monkeypatch: pytest.MonkeyPatch, few: int, state: str
) -> None:
    everything = staff.keys(state=state)
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 7)
    pages = [everything[start : start + 7] for start in range(0, len(everything), 7)]
    change_list = staff.change_list(state=state)
    assert (change_list.first_page, change_list.previous_page) == ("", "")
    for page in pages[:-1]:
        assert keys(change_list) == page
        change_list = staff.follow(change_list.next_page)
    assert keys(change_list) == pages[-1]
    assert (change_list.next_page, change_list.last_page) == ("", "")
    last = staff.follow(staff.change_list(state=state).last_page)
    assert keys(last) == everything[-7:]
    assert (last.next_page, last.last_page) == ("", "")
    for page in reversed(pages[:-1]):
        change_list = staff.follow(change_list.previous_page)
        assert keys(change_list) == page
    assert (change_list.first_page, change_list.previous_page) == ("", "")
    assert change_list.next_page
    assert keys(staff.follow(last.first_page)) == pages[0]


def keys(change_list: EntryChangeList) -> list[str]:
    return [entry.pk for entry in change_list.result_list]


def test_page_is_full_while_others_write(
    staff: Staff, many: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 7)
    first = staff.change_list()
    many.remove_many([f"k:{n:02}" for n in range(5, 12)])
    many.set("k:001", "new")
    following = keys(staff.follow(first.next_page))
    assert following == [f"k:{n:02}" for n in (9, 12, 13, 14, 15, 16, 17)]
    first.model._base_manager.using(driver_of(many).using).all().delete()
    response: Any = staff.client.get(LIST + first.next_page)
    empty = response.context["cl"]
    assert keys(empty) == []
    assert keys(staff.follow(empty.first_page)) == []


@pytest.mark.parametrize(
    "position", ["7", ">", "<", "x", "0", "-1", "> ", "<~", ">\U0010ffff", ">\0"]
)
def test_invalid_page_parameter_is_not_an_error(
    staff: Staff, many: Store, monkeypatch: pytest.MonkeyPatch, position: str
) -> None:
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 7)
    staff.change_list(p=position)
    staff.change_list(p=position, state="expired")


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("a", ["a", "a%", "a%b", "a\\", "a_", "a_b", "ab"]),
        ("a%", ["a%", "a%b"]),
        ("a_", ["a_", "a_b"]),
        ("a\\", ["a\\"]),
        ("A", ["A"]),
        (" a", [" a"]),
        ("é", ["é"]),
        ("\ud7ff", ["\ud7ff"]),
        ("\U0010ffff", ["\U0010ffff"]),
        ("'", ["'; DROP TABLE x"]),
        ("b", []),
        ("a" * 400, []),
    ],
)
def test_search_finds_keys_that_begin_with_the_term(
    staff: Staff, database_store: Store, prefix: str, found: list[str]
) -> None:
    names = ["a", "a%", "a%b", "a\\", "a_", "a_b", "ab", "A", " a", "é", "e\u0301", "\ud7ff"]
    database_store.set_many(dict.fromkeys([*names, "\U0010ffff", "'; DROP TABLE x"], 1))
    assert staff.keys(q=prefix) == found


def test_search_with_invalid_characters_is_rejected(staff: Staff, many: Store) -> None:
    assert "Null characters are not allowed" in staff.page(q="\0")


# Queries.


def test_page_query_uses_the_primary_key(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections[driver_of(database_store).using]
    queries: Any = [{}, {"q": "page:0000"}, {"p": ">page:00000100"}, {"p": "<page:00090000"}]
    with filled(connection) as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE django_persist_entry")
        for query in (*queries, {"state": "live"}, {"state": "live", "q": "page:0"}):
            with CaptureQueriesContext(connection) as captured:
                assert staff.keys(**query)
            assert_in_key_order(driver_of(database_store), captured[-1]["sql"])


@pytest.mark.parametrize(("state", "few"), [*WAYS, ("", 10_000)], indirect=["few"])
def test_list_query_counts_and_sorts_nothing(
    staff: Staff, many: Store, monkeypatch: pytest.MonkeyPatch, few: int, state: str
) -> None:
    monkeypatch.setattr("django_persist.admin.EntryAdmin.list_per_page", 7)
    for query in ({}, {"q": "k:"}, {"p": ">k:1"}, {"p": "<k:4", "o": "3"}):
        with CaptureQueriesContext(connections[driver_of(many).using]) as captured:
            staff.change_list(state=state, **query)
        executed = [query["sql"] for query in captured if "django_persist_entry" in query["sql"]]
        # Before it, the filter by part looks for parts and counts the only one, each with a limit.
        assert all("LIMIT" in sql for sql in executed[:2])
        executed = executed[2:]
        assert len(executed) == (2 if state else 1)
        for sql in executed:
            assert "LIMIT" in sql or " IN (" in sql
            assert not any(word in sql for word in ("COUNT(", "OFFSET", "LIKE"))
            order = re.search(r"ORDER BY (.*?)(?: LIMIT|$)", sql)
            assert not order or re.fullmatch(
                r"\W*django_persist_entry\W+key\W*(ASC|DESC)", order[1]
            )
