"""pop, update and get_or_create: each is one atomic step, whatever others do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..store import REMOVE, Item, Store
from .base import Contract

HOUR = timedelta(hours=1)
MOMENT = datetime(2999, 1, 1, tzinfo=UTC)


def interfering(
    store: Store, fn: Callable[[Any], Any], *writes: Callable[[Store], object]
) -> tuple[list[Any], Callable[[Any], Any]]:
    """Return a list, and a function like `fn` during whose runs others write.

    Each run first makes the next of `writes`. The list gets the argument of each run.
    """
    seen: list[Any] = []
    waiting = list(writes)

    def run(old: Any) -> Any:
        seen.append(old)
        if waiting:
            waiting.pop(0)(store)
        return fn(old)

    return seen, run


class AtomicContract(Contract):
    """pop, update and get_or_create: each is one atomic step, whatever others do."""

    def test_pop_takes_the_value_out(self, store: Store) -> None:
        store.set("a", [1])
        assert store.pop("a") == [1]
        assert "a" not in store
        assert store.pop("a") is None
        assert store.pop("a", "default") == "default"

    def test_pop_returns_what_another_wrote_meanwhile(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remove_if = store.driver.remove_if
        others: list[Any] = ["second", "third"]

        def late(key: str, seen: Any) -> bool:
            if others:
                store.set("a", others.pop(0))
            return remove_if(key, seen)

        monkeypatch.setattr(store.driver, "remove_if", late)
        store.set("a", "first")
        assert store.pop("a") == "third"
        assert "a" not in store

    def test_pop_returns_nothing_that_another_popped(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remove_if = store.driver.remove_if

        def late(key: str, seen: Any) -> bool:
            assert remove_if(key, seen)
            return remove_if(key, seen)

        monkeypatch.setattr(store.driver, "remove_if", late)
        store.set("a", "once")
        assert store.pop("a", "default") == "default"

    def test_update_writes_and_returns_what_fn_returns(self, store: Store) -> None:
        store.set("a", {"n": 1})
        assert store.update("a", lambda old: {"n": old["n"] + 1}) == {"n": 2}
        assert store.get("a") == {"n": 2}

    def test_update_starts_from_the_default_where_nothing_is(self, store: Store) -> None:
        assert store.update("a", lambda old: [*old, 1], [0]) == [0, 1]
        assert store.update("a", lambda old: [*old, 2], [0]) == [0, 1, 2]
        assert store.get_item("a") == Item([0, 1, 2], None)

    def test_remove_has_the_entry_removed(self, store: Store) -> None:
        store.set("a", 1)
        store.set("b", 2)
        assert store.update("a", lambda old: REMOVE) is None
        assert list(store.keys()) == ["b"]
        assert store.update("a", lambda old: REMOVE, 5) is None
        assert list(store.keys()) == ["b"]

    def test_update_keeps_the_expiry(self, store: Store) -> None:
        store.set("a", 1, expires=3600)
        before = store.get_item("a")
        assert before is not None
        store.update("a", lambda old: old + 1)
        assert store.get_item("a") == Item(2, before.expires_at)

    @pytest.mark.parametrize("old", [60, None], ids=["minute", "never"])
    def test_update_can_give_a_new_expiry(self, store: Store, old: int | None) -> None:
        store.set_many({"a": 1, "b": 1, "c": 1}, expires=old)
        store.update("a", lambda old: old, expires=HOUR)
        store.update("b", lambda old: old, expires=MOMENT)
        store.update("c", lambda old: old, expires=None)
        found = store.get_item("a")
        assert found is not None
        assert found.ttl is not None
        assert HOUR / 2 < found.ttl < HOUR * 2
        assert store.get_item("b") == Item(1, MOMENT)
        assert store.get_item("c") == Item(1, None)

    @pytest.mark.parametrize("write", ["set", "touch", "remove and create"])
    def test_fn_runs_again_on_what_another_wrote(self, store: Store, write: str) -> None:
        def other(store: Store) -> None:
            if write == "remove and create":
                store.remove("a")
                store.create("a", 10)
            elif write == "touch":
                store.touch("a", MOMENT)
            else:
                store.set("a", 10)

        store.set("a", 1)
        seen, fn = interfering(store, lambda old: old + 1, other, other)
        result = store.update("a", fn)
        if write == "touch":
            # The value is the one that fn saw; the expiry is the other writer's.
            assert (seen, result) == ([1], 2)
            assert store.get_item("a") == Item(2, MOMENT)
        else:
            assert (seen, result) == ([1, 10], 11)
            assert store.get_item("a") == Item(11, None)

    @pytest.mark.parametrize("expires", [HOUR, MOMENT, None], ids=["hour", "moment", "never"])
    def test_a_new_expiry_costs_no_value_that_another_wrote(
        self, store: Store, expires: timedelta | datetime | None
    ) -> None:
        store.set("a", 1, expires=60)
        seen, fn = interfering(store, lambda old: old + 1, lambda store: store.set("a", 10))
        assert store.update("a", fn, expires=expires) == 11
        assert seen == [1, 10]
        assert store.get("a") == 11

    def test_fn_starts_from_the_default_where_another_removed_the_entry(self, store: Store) -> None:
        store.set("a", 1)
        seen, fn = interfering(store, lambda old: old + 1, lambda store: store.remove("a"))
        assert store.update("a", fn, 100) == 101
        assert seen == [1, 100]

    def test_fn_runs_again_where_another_was_faster_to_create(self, store: Store) -> None:
        seen, fn = interfering(store, lambda old: old + 1, lambda store: store.create("a", 50))
        assert store.update("a", fn, 100) == 51
        assert seen == [100, 50]

    def test_remove_takes_only_what_fn_saw(self, store: Store) -> None:
        store.set("a", "first")
        seen, fn = interfering(
            store,
            lambda old: REMOVE if old == "first" else old,
            lambda store: store.set("a", "second"),
        )
        assert store.update("a", fn) == "second"
        assert seen == ["first", "second"]
        assert store.get("a") == "second"

    def test_get_or_create_creates_once(self, store: Store) -> None:
        assert store.get_or_create("a", [1], expires=MOMENT) == ([1], True)
        assert store.get_or_create("a", [2], expires=None) == ([1], False)
        assert store.get_item("a") == Item([1], MOMENT)

    def test_the_loser_of_a_race_to_create_gets_the_winners_value(self, store: Store) -> None:
        def default() -> str:
            store.create("a", "theirs")
            return "mine"

        assert store.get_or_create("a", default) == ("theirs", False)
        assert store.get("a") == "theirs"
