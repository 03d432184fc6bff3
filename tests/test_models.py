"""Entry through the ORM, on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import DataError, IntegrityError, connections
from django.db.models import F, Max, QuerySet
from django.forms import modelform_factory

from django_persist import Item, Store
from django_persist.exceptions import (
    DecodeError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
)
from django_persist.models import Entry

if TYPE_CHECKING:
    from pathlib import Path

Entries = QuerySet[Entry]

MOMENT = datetime(2999, 10, 27, 0, 30, 5, 678901, tzinfo=UTC)
VALUES: list[Any] = [
    *({"a": [1, None, "x\0"], "ä": -0.0}, [], {}, "", "null", "text", 0, 5, 1.0, 1e22, 2**100),
    *(True, False, None, "'\"\\%s", "😀"),
]


@pytest.fixture
def alias(database_store: Store) -> str:
    return str(database_store.driver.using)  # type: ignore[attr-defined]


@pytest.fixture
def entries(alias: str) -> Entries:
    return Entry.objects.using(alias)


# Values and keys.


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_reads_back_and_can_be_looked_up(
    entries: Entries, database_store: Store, value: Any
) -> None:
    entries.create(key="other", value="another value")
    entries.create(key="a", value=value)
    assert repr(entries.get(key="a").value) == repr(value)
    assert entries.get(value=value).key == "a"
    assert list(entries.exclude(value=value).values_list("value", flat=True)) == ["another value"]
    assert entries.filter(value__in=[value, 7]).count() == 1
    assert repr(database_store.get("a")) == repr(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_orm_reads_what_the_store_writes(
    entries: Entries, database_store: Store, value: Any
) -> None:
    database_store.set("a", value, expires=MOMENT)
    entry = entries.get()
    assert (entry.pk, repr(entry.value), entry.expires_at) == ("a", repr(value), MOMENT)
    entry.save()
    item = database_store.get_item("a")
    assert item == Item(value, MOMENT)
    assert repr(item.value) == repr(value)


def test_an_entry_can_be_changed_and_deleted(entries: Entries, database_store: Store) -> None:
    database_store.set("a", {"n": 1}, expires=MOMENT)
    entry = entries.get()
    entry.value["n"] = 2
    entry.expires_at = None
    entry.save()
    assert database_store.get_item("a") == Item({"n": 2}, None)
    entries.update(value=None, expires_at=MOMENT)
    assert database_store.get_item("a") == Item(None, MOMENT)
    entries.update(expires_at=F("expires_at") + 1_000_000)
    assert database_store.get_item("a") == Item(None, MOMENT + timedelta(seconds=1))
    entry.delete()
    assert "a" not in database_store


def test_entries_can_be_created_in_bulk(entries: Entries, database_store: Store) -> None:
    new = [Entry(key=str(i), value=value) for i, value in enumerate(VALUES)]
    entries.bulk_create(new)
    assert repr([database_store.get(str(i)) for i in range(len(VALUES))]) == repr(VALUES)


def test_what_cannot_be_stored_faithfully_is_refused(entries: Entries) -> None:
    with pytest.raises(EncodeError):
        entries.create(key="a", value={"n": float("nan")})
    assert not entries.exists()


def test_keys_are_compared_exactly(entries: Entries, alias: str) -> None:
    keys = ["key", "KEY", "key ", "kéy", "ke\u0301y"]
    for key in keys:
        entries.create(key=key, value=key)
    for key in keys:
        assert entries.get(key=key).value == key
    with pytest.raises(IntegrityError):
        entries.create(key="key", value=1)
    assert entries.filter(key__startswith="key").count() >= 2
    assert str(entries.get(key="KEY")) == "KEY"


# Datetimes.


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "without USE_TZ"])
@pytest.mark.parametrize("minutes", range(0, 181, 30))
def test_a_datetime_is_exact_in_the_hour_that_a_clock_change_repeats(
    settings: Any, entries: Entries, database_store: Store, use_tz: bool, minutes: int
) -> None:
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Berlin", use_tz
    moment = datetime(2999, 10, 26, 23, tzinfo=UTC) + timedelta(minutes=minutes, microseconds=7)
    entries.create(key="orm", value=1, expires_at=moment.astimezone(ZoneInfo("Europe/Berlin")))
    database_store.set("store", 1, expires=moment)
    for entry in entries.all():
        assert entry.expires_at == moment
        assert entry.expires_at.tzinfo is UTC
        item = database_store.get_item(entry.key)
        assert item is not None
        assert item.expires_at == moment
        assert item.expires_at.tzinfo is UTC
    assert entries.filter(expires_at=moment).count() == 2
    assert entries.filter(expires_at__lt=moment).count() == 0
    assert entries.filter(expires_at__gte=moment).count() == 2
    assert entries.aggregate(last=Max("expires_at")) == {"last": moment}


def test_a_naive_datetime_is_in_the_time_zone_of_the_project(
    settings: Any, entries: Entries
) -> None:
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Berlin", False
    naive = datetime(2999, 7, 1, 12)
    entries.create(key="a", value=1, expires_at=naive)
    assert entries.get().expires_at == datetime(2999, 7, 1, 10, tzinfo=UTC)


def test_entries_without_an_expiry_can_be_looked_up(entries: Entries) -> None:
    entries.create(key="a", value=1)
    entries.create(key="b", value=1, expires_at=MOMENT)
    assert entries.get(expires_at=None).key == "a"
    assert entries.get(expires_at__isnull=False).key == "b"


# Validation and forms.


def test_a_valid_entry_passes_full_clean(alias: str) -> None:
    for value in VALUES:
        Entry(key="a", value=value, expires_at=MOMENT).full_clean(validate_unique=False)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"key": "", "value": 1}, "key"),
        ({"key": "k" * 320, "value": 1}, "key"),
        ({"key": "a", "value": object()}, "value"),
        ({"key": "a", "value": {"n": float("inf")}}, "value"),
        ({"key": "a", "value": 1, "expires_at": "soon"}, "expires_at"),
        ({"key": "a", "value": 1, "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"key": "a", "value": 1, "expires_at": "2999-02-30T12:00:00Z"}, "expires_at"),
    ],
)
def test_an_invalid_entry_raises_a_validation_error(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Entry(**fields).full_clean(validate_unique=False)
    assert list(caught.value.message_dict) == [name]


Form = modelform_factory(Entry, fields=["key", "value", "expires_at"])


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "without USE_TZ"])
def test_a_form_shows_and_accepts_json_and_local_times(
    settings: Any, entries: Entries, alias: str, use_tz: bool
) -> None:
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Berlin", use_tz
    moment = datetime(2999, 7, 1, 10, tzinfo=UTC)
    entry = entries.create(key="a", value={"ä": [1, None]}, expires_at=moment)
    form = Form(instance=entry)
    assert isinstance(form.fields["value"], forms.JSONField)
    shown = {name: form[name].value() for name in form.fields}
    assert json.loads(shown["value"]) == {"ä": [1, None]}
    assert shown["expires_at"].strftime("%Y-%m-%d %H:%M") == "2999-07-01 12:00"
    data = shown | {"value": '{"b": 1e22}', "expires_at": "2999-07-01 12:00"}
    changed = Form(data, instance=entry)
    assert changed.changed_data == ["value"]
    assert changed.is_valid(), changed.errors
    changed.save()
    entry = entries.get()
    assert (entry.value, entry.expires_at) == ({"b": 1e22}, moment)


@pytest.mark.parametrize(
    "data",
    [
        {"value": "{"},
        {"value": "NaN"},
        {"expires_at": "soon"},
        {"expires_at": "2999-02-30 12:00"},
        {"key": ""},
        {"key": "k" * 320},
    ],
    ids=str,
)
def test_a_form_rejects_invalid_values(entries: Entries, alias: str, data: dict[str, str]) -> None:
    form = Form({"key": "a", "value": "1", "expires_at": ""} | data)
    assert not form.is_valid()
    assert list(form.errors) == list(data)


# Commands.


@pytest.mark.parametrize("format_", ["json", "jsonl", "xml"])
def test_entries_can_be_dumped_and_loaded(
    entries: Entries, alias: str, tmp_path: Path, format_: str
) -> None:
    # To JSON, Django writes datetimes to the millisecond.
    moment = MOMENT if format_ == "xml" else MOMENT.replace(microsecond=678000)
    values = [*VALUES, " spaces ", "\x01\x1f\r\n", {"a": {"b": ["<&]]>"]}}, [[], {}, None]]
    for number, value in enumerate(values):
        key = f" k\r\n\t<&\"'>{number} "
        entries.create(key=key, value=value, expires_at=moment if number % 2 else None)
    before = [repr((e.key, e.value, e.expires_at)) for e in entries.order_by("key")]
    dump = tmp_path / f"dump.{format_}"
    options = {"database": alias, "format": format_, "output": str(dump), "verbosity": 0}
    call_command("dumpdata", "django_persist", **options)
    entries.all().delete()
    call_command("loaddata", str(dump), database=alias, verbosity=0)
    assert [repr((e.key, e.value, e.expires_at)) for e in entries.order_by("key")] == before


@pytest.mark.parametrize("key", ["a\x01", "\x1f", "\x7f\ufffe"])
def test_a_key_that_xml_cannot_hold_is_named(entries: Entries, alias: str, key: str) -> None:
    entries.create(key=key, value=1)
    with pytest.raises(CommandError, match="XML can't hold the key") as caught:
        call_command("dumpdata", "django_persist", database=alias, format="xml")
    assert repr(key) in str(caught.value)
    out = StringIO()
    call_command("dumpdata", "django_persist", database=alias, stdout=out)
    assert json.loads(out.getvalue())[0]["pk"] == key


def dump_and_load(alias: str, dump: Path, **fields: Any) -> None:
    """Load a dump of one entry with these fields, written by hand."""
    key = fields.pop("key", "a")
    entry = {"model": "django_persist.entry", "pk": key, "fields": {"value": 1, **fields}}
    dump.write_text(json.dumps([entry]))
    call_command("loaddata", str(dump), database=alias, verbosity=0)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"key": ""}, InvalidKeyError, "at least one character"),
        ({"key": "k" * 400}, InvalidKeyError, "at most 319 characters"),
        ({"key": "a\0b"}, InvalidKeyError, "NUL"),
        ({"key": "a\ud800"}, InvalidKeyError, "lone surrogate"),
        ({"value": float("nan")}, EncodeError, "NaN"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, InvalidExpiryError, "later than a store"),
    ],
)
def test_what_no_driver_takes_is_not_loaded(
    entries: Entries,
    alias: str,
    tmp_path: Path,
    fields: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    # It first updates, and there the client library may refuse a key.
    with pytest.raises((ValueError, DataError)):
        dump_and_load(alias, tmp_path / "dump.json", **fields)
    assert not entries.exists()
    with pytest.raises(error, match=message):
        entries.bulk_create([Entry(**({"key": "a", "value": 1} | fields))])
    assert not entries.exists()


def test_a_dump_names_the_entry_that_is_corrupt(
    entries: Entries, alias: str, tmp_path: Path
) -> None:
    for key in ("before", "corrupt", "later"):
        entries.create(key=key, value=1)
    with connections[alias].cursor() as cursor:
        table, key_column = Entry._meta.db_table, connections[alias].ops.quote_name("key")
        sql = f"UPDATE {table} SET value = '{{secret' WHERE {key_column} = 'corrupt'"
        cursor.execute(sql)
    dump = tmp_path / "dump.json"
    options: dict[str, Any] = {"database": alias, "output": str(dump), "verbosity": 0}
    with pytest.raises(CommandError, match="The entry 'corrupt' is corrupt") as caught:
        call_command("dumpdata", "django_persist", **options)
    assert "secret" not in str(caught.value)
    with pytest.raises(DecodeError, match="The entry 'corrupt' is corrupt"):
        entries.get(key="corrupt")
    entries.filter(key="corrupt").delete()
    call_command("dumpdata", "django_persist", **options)
    assert {entry["pk"] for entry in json.loads(dump.read_text())} == {"before", "later"}


def test_the_migration_matches_the_model(alias: str) -> None:
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", "django_persist", stdout=out)
    assert "No changes detected" in out.getvalue()


def test_columns_compare_as_exactly_as_the_driver_needs(alias: str) -> None:
    connection = connections[alias]
    with connection.cursor() as cursor:
        columns = {
            column.name: column
            for column in connection.introspection.get_table_description(
                cursor, Entry._meta.db_table
            )
        }
        constraints = connection.introspection.get_constraints(cursor, Entry._meta.db_table)
    exact = {
        "default": (None, "BINARY"),
        "postgresql": ("C",),
        "mariadb": ("utf8mb4_nopad_bin",),
        "mysql": ("utf8mb4_0900_bin",),
    }
    for name in ("key", "value"):
        assert columns[name].collation in exact[alias]
    indexed = sorted(
        constraint["columns"]
        for constraint in constraints.values()
        if constraint["index"] or constraint["primary_key"]
    )
    assert indexed == [["expires_at"], ["key"]]
