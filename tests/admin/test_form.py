"""Adding and changing entries: the form keeps the rules of the store."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from django_persist import Item, Store, persist
from django_persist.expiry import to_micros
from tests.admin.conftest import LetIn, Staff, driver_of, put, row
from tests.conftest import leave_expired

FAR_FUTURE = datetime(2999, 10, 27, 0, 30, 5, 678901, tzinfo=UTC)


def text_of(store: Store, key: str) -> str:
    found = row(store, key)
    assert found is not None
    return str(found[0])


# What is typed is stored.


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": [1, null, true], "ä": "\\u0000😀"}', "null", '""', '"<b>"', "0", "-0.0", "1.0"),
        *("1e22", str(2**100), "[[], {}]", '{"": {"": ""}}', '"\\ud83d\\ude00"'),
        "[" * 200 + "]" * 200,
    ],
    ids=lambda text: text[:20],
)
def test_new_entry_is_stored_as_the_store_would(
    staff: Staff, database_store: Store, text: str
) -> None:
    value = json.loads(text)
    assert staff.add("typed", text) is None
    database_store.set("stored", value)
    assert repr(database_store.get("typed")) == repr(value)
    assert row(database_store, "typed") == row(database_store, "stored")


def test_expiry_is_entered_in_the_time_zone_of_the_project(
    settings: Any, staff: Staff, database_store: Store
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    for settings.USE_TZ, key in ((True, "with"), (False, "without")):
        assert staff.add(key, "1", "2999-07-01", "12:30") is None
        expires_at = datetime(2999, 7, 1, 10, 30, tzinfo=UTC)
        assert database_store.get_item(key) == Item(1, expires_at)
        assert "Europe/Berlin" in staff.client.get(staff.address(key)).text
        assert staff.open(key)["expires_at_1"] == "12:30:00"


# Invalid input.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "This field is required."),
        ("{", "Enter valid JSON"),
        ('{"a": 1,\n "b": }', "(line 2, column 7)"),
        ("NaN", "JSON has no NaN"),
        ('{"n": [-Infinity]}', "at $.n[0]"),
        ("1e999", "NaN or infinity"),
        ('"\\ud800"', "lone surrogate"),
        ("[" * 201 + "]" * 201, "nested deeper than 200 levels"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 200 levels"),
        ("9" * 5000, "too many digits"),
        ('{"a": {"b": 1, "b": 2}}', 'name "b" occurs twice'),
        ("'a'", "Enter valid JSON"),
        ('"\t"', "Enter valid JSON"),
        ("\0", "Null characters"),
    ],
    ids=lambda text: text[:20],
)
def test_value_that_the_store_refuses_is_an_error_of_the_value_field(
    sqlite_staff: Staff, text: str, reason: str
) -> None:
    assert reason in text_error(sqlite_staff.add("key", text))
    persist.set("there", 1)
    sent = sqlite_staff.open("there") | {"text": text}
    assert reason in text_error(sqlite_staff.save("there", sent))
    assert persist.get("there") == 1
    assert list(persist.keys()) == ["there"]
    assert len(sqlite_staff.log()) == 0


def text_error(errors: Any) -> str:
    """Return the error of the value field, which is the only error."""
    assert list(errors) == ["text"]
    [message] = errors["text"]
    return str(message)


def test_value_larger_than_max_value_bytes_is_an_error(open_store: Any, let_in: Any) -> None:
    open_store("sqlite", MAX_VALUE_BYTES=10)
    staff = let_in()
    assert staff.add("key", '"12345678"') is None
    assert "11 bytes as JSON" in text_error(staff.add("other", '"123456789"'))
    sent = staff.open("key") | {"text": "[1, 2, 3, 4, 5, 6]"}
    assert "13 bytes as JSON" in text_error(staff.save("key", sent))


def test_value_too_large_for_the_server_is_an_error(
    staff: Staff, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = driver_of(database_store).sql
    if sql.packet is None:
        assert staff.add("key", json.dumps("x" * 20_000)) is None
        return
    monkeypatch.setattr(
        type(sql), "packet", property(lambda self: 16_000, lambda self, packet: None), raising=False
    )
    assert "max_allowed_packet" in text_error(staff.add("key", json.dumps("x" * 20_000)))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "This field is required."),
        ("k" * 256, "at most 255 characters; this one has 256"),
        ("k" * 400, "at most 319 characters"),
        ("a\0", "Null characters"),
    ],
    ids=["none", "256", "400", "NUL"],
)
def test_invalid_key_is_an_error_of_the_key_field(
    sqlite_staff: Staff, key: str, reason: str
) -> None:
    errors = sqlite_staff.add(key, "1")
    assert list(errors) == ["key"]
    assert reason in errors["key"][0]
    assert list(persist.keys()) == []


@pytest.mark.parametrize("key", ["k" * 255, " a ", "é\u0301", "\U0010ffff", "a\tb", "%s {0}"])
def test_key_is_not_normalized(staff: Staff, database_store: Store, key: str) -> None:
    assert staff.add(key, "1") is None
    assert list(database_store.keys()) == [key]


@pytest.mark.parametrize(
    ("date", "time", "reason"),
    [
        ("2001-01-01", "12:00", "is not in the future"),
        ("2999-02-30", "12:00", "Enter a valid date."),
        ("2999-02-20", "", "Enter a valid time."),
        ("soon", "12:00", "Enter a valid date."),
    ],
)
def test_expiry_must_be_in_the_future(
    sqlite_staff: Staff, date: str, time: str, reason: str
) -> None:
    errors = sqlite_staff.add("key", "1", date, time)
    assert list(errors) == ["expires_at"]
    assert reason in errors["expires_at"][0]
    assert list(persist.keys()) == []


def test_key_of_a_live_entry_cannot_be_added_but_of_an_expired_one_can(
    staff: Staff, database_store: Store
) -> None:
    database_store.set("live", "there")
    leave_expired(database_store, {"old": "gone"})
    errors = staff.add("live", "1")
    assert list(errors) == ["key"]
    assert database_store.get("live") == "there"
    assert staff.add("old", "2") is None
    assert database_store.get_item("old") == Item(2, None)


# What is not changed stays the same, byte for byte.


@pytest.mark.parametrize(
    "text",
    [
        *('{"b":1, "a" :  2.50}', "1E2", "-0", '"\\u00e4\\/"', '{"a":1,"a":2}', " [ ] ", "[1e-7]"),
        *('"\\r\\n"', '{"k":"<textarea></textarea>"}', '"\\n"', "[\n1\r\n]"),
    ],
)
def test_unchanged_value_keeps_its_bytes(
    settings: Any, staff: Staff, database_store: Store, text: str
) -> None:
    settings.TIME_ZONE = "UTC"
    put(database_store, "key", text)
    sent = staff.open("key") | {"expires_at_0": "2999-01-01", "expires_at_1": "12:00"}
    assert staff.save("key", sent) is None
    assert row(database_store, "key") == (text, to_micros(datetime(2999, 1, 1, 12, tzinfo=UTC)))
    assert staff.log() == [("key", "Changed Expires at.")]


def test_equal_value_written_differently_keeps_its_bytes(
    staff: Staff, database_store: Store
) -> None:
    put(database_store, "key", '{"b":1.0, "a":[]}')
    sent = staff.open("key") | {"text": '  {"b": 1.0,\n\n"a": [ ]}  '}
    assert staff.save("key", sent) is None
    assert text_of(database_store, "key") == '{"b":1.0, "a":[]}'
    assert staff.log() == [("key", "No fields changed.")]
    # These are different values.
    for text in ('{"a":[],"b":1.0}', '{"a":[],"b":1}', '{"a":[],"b":true}'):
        assert staff.save("key", staff.open("key") | {"text": text}) is None
        assert text_of(database_store, "key") == text


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "without USE_TZ"])
@pytest.mark.parametrize("fold", [0, 1])
def test_unchanged_expiry_keeps_its_microseconds(
    settings: Any, staff: Staff, database_store: Store, use_tz: bool, fold: int
) -> None:
    """Also in the hour that a clock change repeats."""
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Berlin", use_tz
    expires_at = datetime(2999, 10, 27, 2, 30, 5, 678901, ZoneInfo("Europe/Berlin"), fold=fold)
    database_store.set("key", 1, expires=expires_at)
    assert staff.save("key", staff.open("key") | {"text": "2"}) is None
    assert database_store.get_item("key") == Item(2, expires_at.astimezone(UTC))
    assert staff.log() == [("key", "Changed Value.")]
    assert staff.save("key", staff.open("key") | {"expires_at_0": "", "expires_at_1": ""}) is None
    assert database_store.get_item("key") == Item(2, None)


def test_value_is_indented(staff: Staff, database_store: Store) -> None:
    put(database_store, "key", '{"b":[1E2,"\\u00e4"],"a":{}}')
    assert staff.open("key")["text"] == ('{\n  "b": [\n    1E2,\n    "\\u00e4"\n  ],\n  "a": {}\n}')


def test_key_of_an_existing_entry_is_read_only(staff: Staff, database_store: Store) -> None:
    database_store.set("key", 1)
    sent = staff.open("key")
    assert "key" not in sent
    assert staff.save("key", sent | {"key": "other", "text": "2"}) is None
    assert dict(database_store.get_many(["key", "other"])) == {"key": 2}


# Corrupt, expired and large entries.


@pytest.mark.parametrize("text", ["{oops", "", "\n[1", "</textarea>", '{"a":1}}', "[1e999]"])
def test_corrupt_entry_can_be_repaired_and_deleted(
    staff: Staff, database_store: Store, text: str
) -> None:
    put(database_store, "broken", text)
    put(database_store, "other", text)
    sent = staff.open("broken")
    assert sent["text"] == text
    assert list(staff.save("broken", sent)) == ["text"]
    assert text_of(database_store, "broken") == text
    assert staff.save("broken", sent | {"text": '"repaired"'}) is None
    assert database_store.get("broken") == "repaired"
    assert staff.client.get(staff.address("other", "delete")).status_code == 200
    staff.client.post(staff.address("other", "delete"), {"post": "yes"})
    assert row(database_store, "other") is None


def test_corrupt_entry_that_is_not_utf_8_can_be_repaired(sqlite_staff: Staff) -> None:
    put(persist, "broken", b'"\xff\xfe"')
    sent = sqlite_staff.open("broken")
    assert sent["text"] == '"\ufffd\ufffd"'
    assert sqlite_staff.save("broken", sent) is None
    assert persist.get("broken") == "\ufffd\ufffd"


def test_expired_entry_can_be_saved_only_with_a_new_expiry(
    staff: Staff, database_store: Store
) -> None:
    leave_expired(database_store, {"old": 1})
    before = row(database_store, "old")
    sent = staff.open("old")
    assert list(staff.save("old", sent | {"text": "2"})) == ["expires_at"]
    assert row(database_store, "old") == before
    assert staff.save("old", sent | {"expires_at_0": "", "expires_at_1": ""}) is None
    assert database_store.get_item("old") == Item(1, None)


def test_only_the_beginning_of_a_large_value_is_shown(staff: Staff, database_store: Store) -> None:
    database_store.set("large", ["x" * 3_000_000], expires=FAR_FUTURE)
    response: Any = staff.client.get(staff.address("large"))
    assert not response.context["has_change_permission"]
    assert "too large to be edited here: it has over 1,048,576 characters." in response.text
    assert "Only the beginning is shown." in response.text
    assert len(response.text) < 30_000
    assert "2.9\xa0MB" in response.text
    assert 'name="text"' not in response.text
    staff.client.post(staff.address("large", "delete"), {"post": "yes"})
    assert row(database_store, "large") is None


def test_page_says_why_a_value_cannot_be_edited(
    settings: Any, sqlite_staff: Staff, let_in: LetIn
) -> None:
    persist.set("large", "x" * 50_000)
    assert "edited here" not in sqlite_staff.client.get(sqlite_staff.address("large")).text
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 51_200
    page = sqlite_staff.client.get(sqlite_staff.address("large")).text
    assert "exceed the 50.0\xa0KB of the setting DATA_UPLOAD_MAX_MEMORY_SIZE." in page
    page = let_in("view").client.get(sqlite_staff.address("large")).text
    assert "You may view this entry, but not change it." in page
    assert "DATA_UPLOAD_MAX_MEMORY_SIZE" not in page


def test_link_at_a_duplicate_key_is_for_those_who_may_view_entries(
    sqlite_staff: Staff, let_in: LetIn
) -> None:
    for key in ("a/b <i>", "."):
        persist.set(key, 1)
        [error] = sqlite_staff.add(key, "1")["key"]
        [link] = re.findall(r'<a href="([^"]+)">Open it.</a>', error)
        assert sqlite_staff.client.get(link).status_code == 200
        assert let_in("add").add(key, "1") == {"key": ["An entry with this key already exists."]}


@pytest.mark.parametrize("limit", [2_621_440, 200_000, None])
def test_every_form_that_is_shown_can_be_submitted(
    settings: Any, sqlite_staff: Staff, limit: int | None
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = limit
    for length in (1000, 10_000, 60_000, 100_000):
        persist.set("key", ["é"] * length)
        response: Any = sqlite_staff.client.get(sqlite_staff.address("key"))
        if response.context["has_change_permission"]:
            assert sqlite_staff.save("key", sqlite_staff.open("key") | {"expires_at_0": ""}) is None
        else:
            assert length > 1000
            assert limit is not None


def test_history_messages_and_logs_contain_no_value(
    staff: Staff, database_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2"
    assert staff.add("key", json.dumps(secret)) is None
    page = staff.client.get("/admin/")
    assert secret not in page.text
    assert staff.save("key", staff.open("key") | {"text": json.dumps(secret + "!")}) is None
    assert secret not in staff.client.get(staff.address("key", "history")).text
    confirmation = staff.client.post(
        "/admin/django_persist/entry/", {"action": "delete_selected", "_selected_action": "key"}
    )
    assert "key" in confirmation.text
    assert secret not in confirmation.text
    assert secret not in staff.client.get(staff.address("key", "delete")).text
    assert "1" in staff.act("delete_selected", "key")[-1]
    assert secret not in str(staff.log())
    assert [name for name, message in staff.log()] == ["key", "key", "key"]
    assert secret not in caplog.text


def test_form_makes_few_queries(sqlite_staff: Staff, django_assert_max_num_queries: Any) -> None:
    assert persist.driver.using == "default"  # type: ignore[attr-defined]
    persist.set("key", 1)
    with django_assert_max_num_queries(4):
        sqlite_staff.open("key")
