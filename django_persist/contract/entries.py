"""create, set, get, get_item, remove, contains and touch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ..exceptions import DuplicateKeyError, PersistError, ValueTooLargeError
from ..expiry import KEEP
from ..store import REMOVE, Item, Store
from .base import Contract, MakeStore

HOUR = timedelta(hours=1)
Write = Callable[[Store, str], Any]
WRITES: dict[str, Write] = {
    "create": lambda store, value: store.create("new", value),
    "set": lambda store, value: store.set("old", value),
    "set KEEP": lambda store, value: store.set("old", value, expires=KEEP),
    "set_many": lambda store, value: store.set_many({"other": 1, "old": value}),
    "update": lambda store, value: store.update("old", lambda old: value),
    "update default": lambda store, value: store.update("new", lambda old: REMOVE, value),
    "get_or_create": lambda store, value: store.get_or_create("new", value),
}


class EntriesContract(Contract):
    """create, set, get, get_item, remove, contains and touch."""

    def test_create_stores_a_value(self, store: Store) -> None:
        store.create("a", {"n": [1, None, "x"]})
        assert store.get("a") == {"n": [1, None, "x"]}

    @pytest.mark.parametrize("old_expires", [None, HOUR])
    def test_a_duplicate_leaves_value_and_expiry_as_they_were(
        self, store: Store, old_expires: timedelta | None
    ) -> None:
        store.create("a", "old", expires=old_expires)
        before = store.get_item("a")
        with pytest.raises(DuplicateKeyError):
            store.create("a", "new", expires=60)
        assert store.get_item("a") == before
        assert before is not None
        assert before.value == "old"

    def test_a_duplicate_has_the_key_as_the_caller_gave_it(self, make_store: MakeStore) -> None:
        store = make_store(prefix="p:").namespace("shop")
        store.create("a:b", "secret")
        with pytest.raises(DuplicateKeyError) as caught:
            store.create("a:b", "secret")
        assert caught.value.key == "a:b"
        assert "'a:b'" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value, PersistError)

    def test_none_is_a_value(self, store: Store) -> None:
        store.create("a", None)
        assert "a" in store
        assert store.get("a", "default") is None
        assert store.get_item("a") == Item(None, None)
        assert store.count() == 1
        with pytest.raises(DuplicateKeyError):
            store.create("a", None)
        assert store.pop("a", "default") is None
        assert "a" not in store

    def test_create_works_again_after_remove(self, store: Store) -> None:
        store.create("a", 1, expires=HOUR)
        assert store.remove("a")
        store.create("a", 2)
        assert store.get_item("a") == Item(2, None)

    def test_set_stores_over_whatever_was_there(self, store: Store) -> None:
        values: list[Any] = ["text", 5, [1], None, {"a": {}}]
        for value in values:
            store.set("a", value)
            assert store.get("a") == value
        assert store.count() == 1

    def test_setting_the_same_value_again_is_fine(self, store: Store) -> None:
        store.set("a", 1)
        store.set("a", 1)
        assert store.get("a") == 1

    def test_get_gives_the_default_where_nothing_is(self, store: Store) -> None:
        assert store.get("a") is None
        assert store.get("a", "default") == "default"
        marker = object()
        assert store.get("a", marker) is marker

    @pytest.mark.parametrize("value", ["", 0, False, [], {}, 0.0], ids=repr)
    def test_a_value_that_is_false_is_no_missing_one(self, store: Store, value: Any) -> None:
        store.set("a", value)
        assert store.get("a", "default") == value
        assert type(store.get("a")) is type(value)
        assert "a" in store
        with pytest.raises(DuplicateKeyError):
            store.create("a", "other")
        assert store.pop("a", "default") == value

    def test_what_get_returns_is_the_callers_own(self, store: Store) -> None:
        value: dict[str, list[int]] = {"list": []}
        store.set("a", value)
        value["list"].append(1)
        store.get("a")["list"].append(2)
        assert store.get("a") == {"list": []}

    def test_get_item_is_none_where_nothing_is(self, store: Store) -> None:
        assert store.get_item("a") is None

    def test_remove_tells_whether_there_was_an_entry(self, store: Store) -> None:
        assert store.remove("a") is False
        store.set("a", 1)
        store.set("b", 2)
        assert store.remove("a") is True
        assert store.remove("a") is False
        assert "a" not in store
        assert store.get("b") == 2

    def test_contains_tells_whether_there_is_an_entry(self, store: Store) -> None:
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

    def test_touch_of_an_entry_that_never_expires_tells_that_it_is_there(
        self, store: Store
    ) -> None:
        store.set("a", 1)
        assert store.touch("a", None) is True
        assert store.touch("a", None) is True

    @pytest.mark.parametrize("expires", [60, None])
    def test_touch_makes_no_entry(self, store: Store, expires: int | None) -> None:
        assert store.touch("a", expires) is False
        assert "a" not in store

    def test_touch_without_an_argument_gives_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        store.set("a", 1, expires=None)
        assert store.touch("a") is True
        item = store.get_item("a")
        assert item is not None
        assert item.ttl is not None
        assert timedelta(seconds=55) < item.ttl <= timedelta(seconds=60)

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_a_value_past_max_value_bytes_is_refused_by_every_write(
        self, make_store: MakeStore, write: Write
    ) -> None:
        store = make_store(max_value_bytes=10)
        store.set("old", "before")
        with pytest.raises(ValueTooLargeError, match="11 bytes.*10"):
            write(store, "ü" * 4 + "x")  # with its quotes 11 bytes, though 7 characters
        assert dict(store.items()) == {"old": Item("before", None)}

    def test_a_value_of_just_max_value_bytes_is_stored(self, make_store: MakeStore) -> None:
        store = make_store(max_value_bytes=10)
        store.create("a", "ü" * 4)
        assert store.get("a") == "üüüü"
        store.set_many({"b": 1234567890})
        assert store.get("b") == 1234567890

    def test_a_prefix_is_there_and_not_seen(self, make_store: MakeStore) -> None:
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

    def test_stores_of_disjoint_prefixes_share_nothing(self, make_store: MakeStore) -> None:
        one = make_store(prefix="a")
        other = make_store(prefix="b")
        one.incr("n", 3)
        other.incr("n", 4)
        assert (one.get("n"), other.get("n")) == (3, 4)
        assert other.get_many(["n", "an"]) == {"n": 4}
        assert one.remove_many(["n", "bn"]) == 1
        assert list(other.keys()) == ["n"]

    def test_a_driver_that_was_closed_opens_again(self, store: Store) -> None:
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
