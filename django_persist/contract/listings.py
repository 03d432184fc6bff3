"""keys, items, count, clear and purge."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from ..store import Item, Store
from .base import Contract, Elapse

MANY = 2500
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)


class ListingsContract(Contract):
    """keys, items, count, clear and purge."""

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert list(store.keys()) == []
        assert list(store.items()) == []
        assert store.count() == 0
        assert store.clear() == 0

    def test_keys_and_count_list_what_begins_with_the_prefix(self, store: Store) -> None:
        store.set_many(dict.fromkeys(["a", "a:1", "a:2", "ab", "b:a:1"], 1))
        assert sorted(store.keys("a:")) == ["a:1", "a:2"]
        assert sorted(store.keys("a")) == ["a", "a:1", "a:2", "ab"]
        assert sorted(store.keys()) == ["a", "a:1", "a:2", "ab", "b:a:1"]
        assert list(store.keys("a:1:")) == []
        assert (store.count("a:"), store.count("a"), store.count()) == (2, 4, 5)

    def test_items_have_values_and_expiries(self, store: Store) -> None:
        store.set("a", {"n": 1}, expires=MOMENT)
        store.set("b", None)
        store.set("c", [])
        assert dict(store.items()) == {
            "a": Item({"n": 1}, MOMENT),
            "b": Item(None, None),
            "c": Item([], None),
        }
        assert list(store.items("a")) == [("a", Item({"n": 1}, MOMENT))]

    def test_a_listing_of_many_has_each_of_them(self, store: Store) -> None:
        store.set_many({f"k{i}": i for i in range(MANY)} | {f"other{i}": i for i in range(50)})
        keys, items, count = list(store.keys("k")), list(store.items("k")), store.count("k")
        assert set(keys) == {f"k{i}" for i in range(MANY)}
        assert dict(items) == {f"k{i}": Item(i, None) for i in range(MANY)}
        if store.driver.supports_exact_listings:
            assert len(keys) == len(items) == count == MANY

    @pytest.mark.parametrize("number", [99, 100, 101, 1000])
    def test_a_listing_ends_where_a_page_does(self, store: Store, number: int) -> None:
        store.set_many({f"k{i}": i for i in range(number)})
        assert len(set(store.keys())) == number
        assert len(dict(store.items())) == number

    def test_a_listing_can_be_given_up(self, store: Store) -> None:
        store.set_many({f"k{i}": i for i in range(MANY)})
        next(store.keys())
        next(store.items())
        assert store.count() == MANY
        assert store.get("k1") == 1

    @pytest.mark.parametrize("call", ["keys", "items"])
    def test_entries_can_be_deleted_while_they_are_listed(self, store: Store, call: str) -> None:
        store.set_many({f"k{i}": i for i in range(MANY)})
        removed, listed = 0, []
        for found in getattr(store, call)():
            listed.append(found if call == "keys" else found[0])
            if len(listed) % 25 == 0:
                removed += store.remove_many(listed[-25:])
        assert set(listed) == {f"k{i}" for i in range(MANY)}
        assert removed == MANY
        assert store.count() == 0

    @pytest.mark.parametrize("call", ["keys", "items"])
    def test_what_lives_all_the_while_is_listed_while_others_write(
        self, store: Store, call: str
    ) -> None:
        store.set_many({f"stays{i}": i for i in range(MANY)} | {f"goes{i}": i for i in range(500)})
        seen: Counter[str] = Counter()
        for number, found in enumerate(getattr(store, call)()):
            key = found if call == "keys" else found[0]
            seen[key] += 1
            if number % 100 == 0:
                other = number // 5 % 500
                store.set(f"new{other}", 1)
                store.remove(f"goes{other}")
                store.set(f"stays{other}", "changed")
        assert {f"stays{i}" for i in range(MANY)} <= seen.keys()
        if store.driver.supports_exact_listings:
            assert set(seen.values()) == {1}
        assert all(key.startswith(("stays", "goes", "new")) for key in seen)

    def test_clear_deletes_what_begins_with_the_prefix_and_counts_it(self, store: Store) -> None:
        store.set_many(dict.fromkeys(["a", "a:1", "a:2", "b"], 1))
        assert store.clear("a:") == 2
        assert sorted(store.keys()) == ["a", "b"]
        assert store.clear("a:") == 0
        assert store.clear() == 2
        assert store.count() == 0

    def test_clear_counts_only_live_entries(self, store: Store, elapse: Elapse) -> None:
        store.set_many({"gone": 1, "gone too": 2}, expires=0.02)
        store.set_many({"a": 1, "b": 2, "c": 3}, expires=3600)
        elapse(0.03)
        assert store.clear() == 3
        assert store.count() == 0

    def test_clear_of_many(self, store: Store) -> None:
        store.set_many({f"k{i}": i for i in range(MANY)} | {"other": 1})
        assert store.clear("k") == MANY
        assert list(store.keys()) == ["other"]

    def test_purge_deletes_only_expired_entries(self, store: Store, elapse: Elapse) -> None:
        store.set_many({f"gone{i}": i for i in range(5)}, expires=0.02)
        store.set("soon gone", 1, expires=3600)
        store.set("never gone", 1)
        elapse(0.03)
        # A driver whose server deletes expired entries by itself has none left.
        left = store.driver.expired()
        assert left in (0, 5)
        assert store.purge() == left
        assert sorted(store.keys()) == ["never gone", "soon gone"]
        assert store.purge() == 0
        assert store.driver.expired() == 0

    @pytest.mark.parametrize("batch_size", [1, 7, 10, 1000])
    def test_purge_takes_everything_in_batches(
        self, store: Store, elapse: Elapse, batch_size: int
    ) -> None:
        # Some end at one moment, some at different ones.
        store.set_many({f"a{i}": i for i in range(10)}, expires=0.2)
        for i in range(10):
            store.set(f"b{i}", i, expires=0.1 + i / 1000)
        store.set_many({f"c{i}": i for i in range(10)}, expires=3600)
        elapse(0.25)
        left = store.driver.expired()
        assert left in (0, 20)
        batches = list(store.driver.purge(batch_size))
        assert sum(batches) == left
        assert not batches or batches[0] <= batch_size
        assert sorted(store.keys()) == [f"c{i}" for i in range(10)]
        assert store.driver.expired() == 0

    def test_purge_never_takes_an_entry_that_was_renewed(
        self, store: Store, elapse: Elapse
    ) -> None:
        store.set_many({f"k{i}": "old" for i in range(6)}, expires=0.02)
        elapse(0.03)
        batches = store.driver.purge(2)
        next(iter(batches), None)
        store.set_many({f"k{i}": "new" for i in range(6)})
        assert sum(batches) == 0
        assert {item.value for _, item in store.items()} == {"new"}
        assert store.count() == 6
