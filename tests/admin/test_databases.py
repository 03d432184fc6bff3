"""Which database the admin shows, and which store an entry belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory

from django_persist import Store, persist, stores
from django_persist.admin import EntryAdmin
from django_persist.admin.databases import databases
from django_persist.models import Entry
from tests.admin.conftest import LetIn, Staff, driver_of
from tests.conftest import BACKENDS, OpenStore, leave_expired


@pytest.fixture
def two(open_store: OpenStore, settings: Any) -> None:
    """Stores in two databases. The default store is not the first of them."""
    open_store("sqlite")
    open_store("postgresql")
    settings.PERSIST = {
        "memory": BACKENDS["memory"],
        "other": BACKENDS["sqlite"],
        "default": BACKENDS["postgresql"],
    }


def test_admin_shows_the_database_of_the_default_store(two: None, let_in: LetIn) -> None:
    assert databases() == ["postgresql", "default"]
    persist.set("in postgresql", 1)
    stores["other"].set("in sqlite", 1)
    staff = let_in()
    assert staff.keys() == ["in postgresql"]
    assert "in the database “postgresql”" in staff.page()
    assert staff.add("added", "1") is None
    assert persist.get("added") == 1


class OtherAdmin(EntryAdmin):
    using = "default"


def test_admin_class_can_name_another_database(two: None, let_in: LetIn) -> None:
    stores["other"].set("in sqlite", 1)
    request = RequestFactory().get("/")
    request.user = let_in().user
    view: Any = OtherAdmin(Entry, admin.site).changelist_view(request)
    assert [entry.pk for entry in view.context_data["cl"].result_list] == ["in sqlite"]
    assert "in the database “default”" in view.render().text


@pytest.mark.parametrize("other", ["memory", None])
def test_single_database_is_not_named(
    staff: Staff, database_store: Store, other: str | None, settings: Any
) -> None:
    assert "in the database" not in staff.page()


def test_all_writes_go_to_the_database_of_the_store(
    staff: Staff, database_store: Store, settings: Any
) -> None:
    assert databases() == [driver_of(database_store).using]
    assert staff.add("key", "1") is None
    assert staff.save("key", staff.open("key") | {"text": "2"}) is None
    assert database_store.get("key") == 2
    leave_expired(database_store, {"old": 1})
    staff.act("delete_expired")
    assert staff.keys() == ["key"]
    staff.client.post(staff.address("key", "delete"), {"post": "yes"})
    assert staff.keys() == []
    assert staff.add("key", "1") is None
    staff.act("delete_selected", "key")
    assert staff.keys() == []


# Stores that share a table.


@pytest.fixture
def shared(open_store: OpenStore, settings: Any) -> Iterator[None]:
    open_store("sqlite")
    settings.PERSIST = {
        "default": {**BACKENDS["sqlite"], "PREFIX": "a:", "MAX_VALUE_BYTES": 10},
        "other": {**BACKENDS["sqlite"], "PREFIX": "b:"},
    }
    yield
    Entry.objects.all().delete()


def test_key_must_have_the_prefix_of_a_store(shared: None, let_in: LetIn) -> None:
    staff = let_in()
    errors = staff.add("key", "1")
    assert list(errors) == ["key"]
    assert "one of these PREFIXes: 'a:', 'b:'" in errors["key"][0]
    assert "at least one character" in staff.add("a:", "1")["key"][0]
    assert "this one has 256" in staff.add("b:" + "k" * 256, "1")["key"][0]
    assert staff.add("b:" + "k" * 255, "1") is None
    assert staff.add("a:key", "1") is None
    assert persist.get("key") == 1
    assert stores["other"].count() == 1


def test_max_value_bytes_is_that_of_the_store_of_the_key(shared: None, let_in: LetIn) -> None:
    staff = let_in()
    assert list(staff.add("a:key", '"123456789"')) == ["text"]
    assert staff.add("b:key", '"123456789"') is None
    persist.set("key", 1)
    assert list(staff.save("a:key", staff.open("a:key") | {"text": '"123456789"'})) == ["text"]
    # An entry that belongs to no store can be changed, too.
    Entry.objects.create(key="key", value=1)
    assert staff.save("key", staff.open("key") | {"text": '"123456789"'}) is None
