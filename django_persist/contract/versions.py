"""The version of an Item, and replace and remove, which take it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import InvalidExpiryError
from ..expiry import DEFAULT
from ..keys import Key
from ..store import Item, Store
from .base import Contract, Elapse

HOUR = timedelta(hours=1)
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)

# What each is stored as has this digest on every driver.
VERSIONS: dict[str, Any] = {
    "826620f30b5092e28ee1140201f00ce1": {"n": [1, "é"]},
}


def version_of(store: Store, key: str = "a") -> str:
    item = store.get_item(key)
    assert item is not None
    return item.version


class VersionsContract(Contract):
    """The version of an Item, and replace and remove, which take it."""

    def test_a_version_is_the_same_on_every_driver(self, store: Store) -> None:
        for version, value in VERSIONS.items():
            store.set("a", value)
            assert version_of(store) == version
            assert dict(store.items())["a"].version == version

    def test_a_version_changes_with_the_value_alone(self, store: Store) -> None:
        store.set("a", 1)
        first = version_of(store)
        assert first.isascii()
        assert first.isalnum()
        store.touch("a", HOUR)
        assert version_of(store) == first
        assert store.incr("a") == 2
        second = version_of(store)
        assert second != first
        store.incr("a", -1)
        assert version_of(store) == first
        store.set("b", 2)
        assert version_of(store, "b") == second

    def test_replace_stores_over_the_version_it_is_given(self, store: Store) -> None:
        store.set("a", "first", expires=MOMENT)
        version = version_of(store)
        assert store.replace("a", "second", version) is True
        assert store.get_item("a") == Item("second", MOMENT)
        assert store.replace("a", "third", version) is False
        assert store.replace("a", "third", "") is False
        assert store.get_item("a") == Item("second", MOMENT)
        assert store.replace("a", "third", version_of(store), expires=None) is True
        assert store.get_item("a") == Item("third", None)

    def test_replace_can_give_a_new_expiry(self, store: Store) -> None:
        key = Key("a", expires=MOMENT)
        store.set("a", 1)
        assert store.replace(key, 2, version_of(store), expires=DEFAULT)
        assert store.get_item("a") == Item(2, MOMENT)
        assert store.replace("a", 3, version_of(store), expires=HOUR)
        item = store.get_item("a")
        assert item is not None
        assert item.ttl is not None
        assert HOUR / 2 < item.ttl <= HOUR
        past = datetime(2020, 1, 1, tzinfo=UTC)
        with pytest.raises(InvalidExpiryError):
            store.replace("a", 4, item.version, expires=past)
        assert store.get_item("a") == item

    def test_replace_of_the_same_value_is_a_replace(self, store: Store) -> None:
        store.set("a", 1, expires=HOUR)
        assert store.replace("a", 1, version_of(store), expires=None) is True
        assert store.get_item("a") == Item(1, None)

    def test_remove_deletes_the_version_it_is_given(self, store: Store) -> None:
        store.set("a", 1)
        version = version_of(store)
        store.set("a", 2)
        assert store.remove("a", version=version) is False
        assert store.get("a") == 2
        assert store.remove("a", version=version_of(store)) is True
        assert "a" not in store

    def test_a_version_of_what_has_gone_is_no_longer_there(
        self, store: Store, elapse: Elapse
    ) -> None:
        store.set("a", 1, expires=0.02)
        store.set("b", 1)
        version = version_of(store, "b")
        store.remove("b")
        elapse(0.03)
        for key in ("a", "b", "never"):
            assert store.replace(key, 2, version) is False
            assert store.remove(key, version=version) is False
            assert key not in store

    def test_replace_compares_with_what_another_wrote_meanwhile(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.set("a", "first")
        version, replace = version_of(store), store.driver.replace
        others: list[Any] = ["second", None]

        def late(*args: Any, **kwargs: Any) -> bool:
            if others and (value := others.pop(0)):
                store.set("a", value)
            return replace(*args, **kwargs)

        monkeypatch.setattr(store.driver, "replace", late)
        assert store.replace("a", "mine", version) is False
        assert store.get("a") == "second"

    def test_a_value_that_went_and_came_back_has_its_version(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It may be stored as other text only if its version differs. Losing to the same text, as
        # when another wrote and restored it, is not the end.
        store.set_many({"a": 1, "b": 1})
        version, driver = version_of(store), store.driver
        replace, remove_if = driver.replace, driver.remove_if
        lost = iter([True, True])

        def late_replace(*args: Any, **kwargs: Any) -> bool:
            return not next(lost, False) and replace(*args, **kwargs)

        def late_remove(*args: Any) -> bool:
            return not next(lost, False) and remove_if(*args)

        monkeypatch.setattr(driver, "replace", late_replace)
        monkeypatch.setattr(driver, "remove_if", late_remove)
        assert store.replace("a", 2, version) is True
        lost = iter([True, True])
        assert store.remove("b", version=version) is True
        assert dict(store.items()) == {"a": Item(2, None)}
