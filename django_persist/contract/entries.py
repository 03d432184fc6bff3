"""create, set, get, get_item, remove, contains and touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import DuplicateKeyError
from ..store import Item, Store
from .base import Contract, MakeStore

HOUR = timedelta(hours=1)
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)
FALSE: list[Any] = ["", 0, False, [], {}, 0.0]


class EntriesContract(Contract):
    """create, set, get, get_item, remove, contains and touch."""

    def test_create_stores_a_value(self, store: Store) -> None:
        store.create("a", {"n": [1, None, "x"]})
        assert store.get("a") == {"n": [1, None, "x"]}

    @pytest.mark.parametrize("expires", [60, MOMENT, None], ids=["lifetime", "moment", "never"])
    @pytest.mark.parametrize("old_expires", [None, HOUR])
    def test_a_duplicate_leaves_value_and_expiry_as_they_were(
        self, store: Store, old_expires: timedelta | None, expires: datetime | int | None
    ) -> None:
        store.create("a", "old", expires=old_expires)
        before = store.get_item("a")
        with pytest.raises(DuplicateKeyError):
            store.create("a", "new", expires=expires)
        assert store.get_item("a") == before
        assert before is not None
        assert before.value == "old"

    def test_none_is_a_value(self, store: Store) -> None:
        store.create("a", None)
        assert "a" in store
        assert store.get("a", "default") is None
        assert store.get_item("a") == Item(None, None)
        assert store.get_many(["a", "b"]) == {"a": None}
        assert store.count() == 1
        with pytest.raises(DuplicateKeyError):
            store.create("a", None)
        assert store.update("a", lambda old: old) is None
        assert store.pop("a", "default") is None
        assert "a" not in store

    def test_a_false_value_is_not_a_missing_one(self, store: Store) -> None:
        for value in FALSE:
            key = repr(value)
            store.set(key, value)
            found = store.get(key, "default")
            assert (found, type(found)) == (value, type(value))
            assert key in store, key
            with pytest.raises(DuplicateKeyError):
                store.create(key, "other")
            assert store.pop(key, "default") == value, key

    def test_create_works_again_after_remove(self, store: Store) -> None:
        store.create("a", 1, expires=HOUR)
        assert store.remove("a")
        store.create("a", 2)
        assert store.get_item("a") == Item(2, None)

    def test_set_replaces_whatever_was_there(self, store: Store) -> None:
        values: list[Any] = ["text", 5, [1], None, {"a": {}}]
        for value in values:
            store.set("a", value)
            assert store.get("a") == value
        assert store.count() == 1

    def test_the_same_value_can_be_written_again(self, store: Store) -> None:
        store.set("a", 1)
        store.set("a", 1)
        store.set_many({"a": 1})
        assert store.update("a", lambda old: old) == 1
        assert store.get_item("a") == Item(1, None)

    def test_remove_returns_whether_there_was_an_entry(self, store: Store) -> None:
        assert store.remove("a") is False
        store.set("a", 1)
        store.set("b", 2)
        assert store.remove("a") is True
        assert store.remove("a") is False
        assert "a" not in store
        assert store.get("b") == 2

    def test_contains_returns_whether_there_is_an_entry(self, store: Store) -> None:
        assert "a" not in store
        store.set("a", 1)
        assert "a" in store
        assert "A" not in store

    def test_touch_leaves_the_value(self, store: Store) -> None:
        store.set("a", [1, 2])
        assert store.touch("a", HOUR) is True
        item = store.get_item("a")
        assert item is not None
        assert item.value == [1, 2]
        assert item.ttl is not None
        assert HOUR / 2 < item.ttl < HOUR * 2

    def test_touch_can_take_an_expiry_away(self, store: Store) -> None:
        store.set("a", 1, expires=60)
        assert store.touch("a", None) is True
        assert store.get_item("a") == Item(1, None)

    def test_touch_finds_an_entry_that_never_expires(self, store: Store) -> None:
        store.set("a", 1)
        assert store.touch("a", None) is True
        assert store.touch("a", None) is True

    @pytest.mark.parametrize("expires", [60, None])
    def test_touch_makes_no_entry(self, store: Store, expires: int | None) -> None:
        assert store.touch("a", expires) is False
        assert "a" not in store

    def test_a_prefix_keeps_stores_apart(self, make_store: MakeStore) -> None:
        plain = make_store()
        store = make_store(prefix="%_*é:")
        plain.set("a", "another's")
        store.set("a", "its own")
        assert plain.get("a") == "another's"
        assert store.get("a") == "its own"
        assert list(store.keys()) == ["a"]
        assert [key for key, _ in store.items()] == ["a"]
        assert plain.get("%_*é:a") == "its own"
        assert store.count() == 1
        assert store.clear() == 1
        assert plain.get("a") == "another's"

    def test_a_closed_driver_opens_again(self, store: Store) -> None:
        store.set("a", 1)
        store.driver.close()
        store.driver.close()
        store.set("b", 2)
        assert store.get("b") == 2

    def test_a_driver_says_where_it_keeps_its_entries(self, store: Store) -> None:
        place = store.driver.place()
        assert place == store.driver.place()
        assert hash(place) == hash(store.driver.place())
        assert store.namespace("a").place().prefix == place.prefix + "a:"
