"""pop and update, each one atomic step whatever others do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from ..exceptions import ContentionError, EncodeError, MissingKeyError, PersistError
from ..expiry import DEFAULT
from ..store import REMOVE, Item, Store
from .base import Contract, MakeStore

HOUR = timedelta(hours=1)


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)


def ttl(store: Store) -> timedelta | None:
    item = store.get_item("a")
    assert item is not None
    return item.ttl


def in_an_hour(store: Store) -> bool:
    left = ttl(store)
    return left is not None and HOUR / 2 < left < HOUR * 2


def interfering(
    store: Store, fn: Callable[[Any], Any], *writes: Callable[[Store], object]
) -> tuple[list[Any], Callable[[Any], Any]]:
    """Return a list of what `fn` is given, and `fn`, so that its runs meet other writers."""
    seen: list[Any] = []
    waiting = list(writes)

    def run(old: Any) -> Any:
        seen.append(old)
        if waiting:
            waiting.pop(0)(store)
        return fn(old)

    return seen, run


class AtomicContract(Contract):
    """pop and update, each one atomic step whatever others do meanwhile."""

    def test_pop_takes_the_value_out(self, store: Store) -> None:
        store.set("a", [1])
        assert store.pop("a") == [1]
        assert "a" not in store
        assert store.pop("a") is None
        assert store.pop("a", "default") == "default"

    def test_pop_hands_out_what_another_wrote_meanwhile(
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

    def test_pop_hands_out_nothing_that_another_popped(
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

    def test_fn_may_change_its_copy(self, store: Store) -> None:
        store.set("a", [1])

        def append(old: list[int]) -> list[int]:
            old.append(2)
            return old

        assert store.update("a", append) == [1, 2]
        assert store.get("a") == [1, 2]

    @pytest.mark.parametrize(
        ("default", "start"),
        [([0], [0]), (list, []), (lambda: [0], [0])],
        ids=["value", "class", "fn"],
    )
    def test_a_default_is_where_fn_starts(
        self, store: Store, default: Any, start: list[int]
    ) -> None:
        assert store.update("a", lambda old: [*old, 1], default) == [*start, 1]
        assert store.update("a", lambda old: [*old, 2], default) == [*start, 1, 2]

    def test_a_default_is_not_made_where_an_entry_is(self, store: Store) -> None:
        store.set("a", 1)
        assert store.update("a", lambda old: old + 1, lambda: pytest.fail("made")) == 2

    def test_none_is_a_default(self, store: Store) -> None:
        assert store.update("a", lambda old: [old], None) == [None]

    def test_without_entry_and_default_there_is_nothing_to_update(self, store: Store) -> None:
        with pytest.raises(MissingKeyError, match="'a' has no live entry") as caught:
            store.update("a", lambda old: pytest.fail("run"))
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, PersistError)
        assert caught.value.key == "a"
        assert "a" not in store

    def test_remove_has_the_entry_removed(self, store: Store) -> None:
        store.set("a", 1)
        store.set("b", 2)
        assert store.update("a", lambda old: REMOVE) is None
        assert list(store.keys()) == ["b"]
        assert store.update("a", lambda old: REMOVE, 5) is None
        assert list(store.keys()) == ["b"]

    @pytest.mark.parametrize("value", [0, "", [], False, {"a": 1}])
    def test_a_function_that_forgets_to_return_is_told(self, store: Store, value: Any) -> None:
        store.set("a", value, expires=3600)
        before = store.get_item("a")
        with pytest.raises(TypeError, match="returned None"):
            store.update("a", lambda old: None)
        with pytest.raises(TypeError, match="returned None"):
            store.update("b", lambda old: None, value)
        assert dict(store.items()) == {"a": before}

    def test_a_value_that_was_none_may_stay_none(self, store: Store) -> None:
        store.set("a", None)
        assert store.update("a", lambda old: old) is None
        assert store.update("b", lambda old: old, None) is None
        assert dict(store.items()) == {"a": Item(None, None), "b": Item(None, None)}

    def test_nothing_is_written_where_fn_raises(self, store: Store) -> None:
        store.set("a", [1])
        with pytest.raises(ZeroDivisionError):
            store.update("a", lambda old: old.append(1 // 0))
        with pytest.raises(EncodeError):
            store.update("a", lambda old: object())
        with pytest.raises(ZeroDivisionError):
            store.update("b", str, lambda: 1 // 0)
        assert dict(store.items()) == {"a": Item([1], None)}

    def test_update_returns_what_a_later_get_would(self, store: Store) -> None:
        assert (
            store.update("a", lambda old: (old, {1: 2}), "x") == ["x", {"1": 2}] == store.get("a")
        )
        assert store.update("c", lambda old: old, Cart(["x"])) == {"items": ["x"]}
        cart = store.update("c", lambda old: Cart([*old.items, "y"]), as_=Cart)
        assert cart == Cart(["x", "y"]) == store.get("c", as_=Cart)
        made = store.update("d", lambda old: Cart([*old.items, "y"]), Cart, as_=Cart)
        assert made == Cart(["y"]) == store.get("d", as_=Cart)

    def test_update_keeps_the_expiry(self, store: Store) -> None:
        store.set("a", 1, expires=3600)
        before = store.get_item("a")
        assert before is not None
        store.update("a", lambda old: old + 1)
        assert store.get_item("a") == Item(2, before.expires_at)

    @pytest.mark.parametrize("expires", [3600, HOUR, DEFAULT], ids=repr)
    def test_update_can_give_a_new_expiry(self, make_store: MakeStore, expires: Any) -> None:
        store = make_store(default_expires=HOUR)
        for key, old in (("a", 60), ("b", None)):
            store.set(key, 1, expires=old)
            store.update(key, lambda old: old, expires=expires)
            assert ttl(store) is not None
            assert in_an_hour(store)
        store.update("a", lambda old: old, expires=None)
        assert ttl(store) is None

    @pytest.mark.parametrize("write", ["set", "touch", "remove and create"])
    def test_fn_runs_again_on_what_another_wrote(self, store: Store, write: str) -> None:
        def other(store: Store) -> None:
            if write == "remove and create":
                store.remove("a")
                store.create("a", 10)
            elif write == "touch":
                store.touch("a", HOUR)
            else:
                store.set("a", 10)

        store.set("a", 1)
        seen, fn = interfering(store, lambda old: old + 1, other, other)
        result = store.update("a", fn)
        if write == "touch":
            # The value is what fn saw; the expiry is the other's.
            assert (seen, result) == ([1], 2)
            assert in_an_hour(store)
        else:
            assert (seen, result) == ([1, 10], 11)
        assert store.get("a") == result

    def test_fn_starts_from_the_default_where_another_removed_the_entry(self, store: Store) -> None:
        store.set("a", 1)
        seen, fn = interfering(store, lambda old: old + 1, lambda store: store.remove("a"))
        assert store.update("a", fn, 100) == 101
        assert seen == [1, 100]

    def test_update_of_what_another_removed_has_nothing_to_start_from(self, store: Store) -> None:
        store.set("a", 1)
        _, fn = interfering(store, lambda old: old + 1, lambda store: store.remove("a"))
        with pytest.raises(MissingKeyError):
            store.update("a", fn)
        assert "a" not in store

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

    def test_each_run_of_fn_has_a_copy_of_its_own(self, store: Store) -> None:
        default: list[int] = [1]
        seen, fn = interfering(
            store,
            lambda old: [*old, old.append(2)],
            lambda store: store.create("a", [5]),
            lambda store: store.set("a", [1]),
        )
        assert store.update("a", fn, default) == [1, None]
        assert seen == [[1, 2], [5, 2], [1, 2]]
        assert default == [1]

    @pytest.mark.parametrize("fn", [lambda old: [old], lambda old: REMOVE], ids=["value", "REMOVE"])
    def test_an_update_that_keeps_losing_comes_to_an_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, fn: Callable[[Any], Any]
    ) -> None:
        monkeypatch.setattr("django_persist.store.TRIES", 4)
        store.set("a", 0)
        writes = [lambda store, n=n: store.set("a", n) for n in range(1, 100)]
        seen, losing = interfering(store, fn, *writes)
        with pytest.raises(ContentionError, match="'a'"):
            store.update("a", losing)
        assert seen == [0, 1, 2, 3]
        assert store.get("a") == 4

    def test_an_update_that_keeps_losing_ends_in_time(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.store.SECONDS", 0.05)
        store.set("a", 0)
        seen, losing = interfering(
            store, str, *[lambda store, n=n: store.set("a", n) for n in range(1, 1000)]
        )
        with pytest.raises(ContentionError):
            store.update("a", losing)
        assert len(seen) < 100
