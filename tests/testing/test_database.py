"""The database driver in Django's own test case classes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from django_persist import persist, stores
from django_persist.exceptions import DuplicateKeyError
from django_persist.models import Entry
from tests.conftest import BACKENDS

in_two_databases = override_settings(
    PERSIST={"default": BACKENDS["sqlite"], "other": BACKENDS["postgresql"]}
)


def stored() -> dict[str, list[str]]:
    return {alias: sorted(stores[alias].keys()) for alias in stores}


@in_two_databases
class DatabaseTestCase(TestCase):
    databases = {"default", "postgresql"}

    @classmethod
    def setUpTestData(cls) -> None:
        persist.set("data", [1])

    def assert_undone(self) -> None:
        assert stored() == {"default": ["data"], "other": []}
        assert persist.get("data") == [1]
        persist.set("data", [2])
        stores["other"].incr("calls")

    def test_one_is_undone(self) -> None:
        self.assert_undone()

    def test_two_is_undone(self) -> None:
        self.assert_undone()

    def test_a_duplicate_leaves_the_transaction_usable(self) -> None:
        for store in (persist, stores["other"]):
            store.set("a", 1)
            with pytest.raises(DuplicateKeyError):
                store.create("a", 2)
            assert store.update("a", lambda number: number + 1) == 2

    def test_on_commit_callbacks_wait_for_the_commit(self) -> None:
        def store_and_then_more() -> None:
            with transaction.atomic():
                persist.set("a", 1)
                transaction.on_commit(lambda: persist.set("committed", 1))

        store_and_then_more()
        assert "committed" not in persist
        with self.captureOnCommitCallbacks(execute=True):
            store_and_then_more()
        assert "committed" in persist

    def test_rollback_undoes_incr(self) -> None:
        persist.incr("calls")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            persist.incr("calls")
            raise ZeroDivisionError
        assert persist.incr("calls") == 2


@in_two_databases
class OneDatabaseTestCase(TestCase):
    def test_database_not_in_databases_is_refused(self) -> None:
        persist.set("a", 1)
        calls: list[Any] = [
            lambda: stores["other"].get("a"),
            lambda: stores["other"].incr("a"),
            lambda: stores["other"].set_many({"a": 1, "b": 2}),
            lambda: list(stores["other"].keys()),
        ]
        for call in calls:
            with pytest.raises(AssertionError, match=r"Add 'postgresql' to .*databases"):
                call()
        assert persist.get("a") == 1


class NoDatabaseTestCase(SimpleTestCase):
    def test_database_access_is_refused(self) -> None:
        with pytest.raises(AssertionError, match="subclass TestCase"):
            persist.get("a")


def test_database_access_without_django_db_mark_is_refused() -> None:
    with pytest.raises(RuntimeError, match="django_db"):
        persist.get("a")


@in_two_databases
class DatabaseTransactionTestCase(TransactionTestCase):
    databases = {"default", "postgresql"}

    def assert_emptied(self) -> None:
        assert stored() == {"default": [], "other": []}
        with transaction.atomic():
            persist.set("a", 1)
            transaction.on_commit(lambda: stores["other"].set("committed", 1))
        assert stored() == {"default": ["a"], "other": ["committed"]}
        assert Entry.objects.count() == 1

    def test_one_is_emptied(self) -> None:
        self.assert_emptied()

    def test_two_is_emptied(self) -> None:
        self.assert_emptied()
