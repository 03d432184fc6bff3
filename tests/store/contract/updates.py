"""The arguments, results and errors of update and get_or_create."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from django_persist import REMOVE, Item, Store
from django_persist.contract.atomic import interfering
from django_persist.contract.base import MakeStore
from django_persist.contract.lifetimes import expires_at, in_an_hour
from django_persist.exceptions import ContentionError, DecodeError, EncodeError, MissingKeyError
from tests.store.contract.base import Contract


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)


DEFAULTS: dict[str, tuple[Any, Any]] = {
    "value": ([0], [0]),
    "class": (list, []),
    "function": (lambda: [0], [0]),
    "None": (None, None),
}


class UpdatesContract(Contract):
    """The arguments, results and errors of update and get_or_create."""

    # update.

    def test_fn_may_change_its_copy(self, store: Store) -> None:
        store.set("a", [1])

        def append(old: list[int]) -> list[int]:
            old.append(2)
            return old

        assert store.update("a", append) == [1, 2]
        assert store.get("a") == [1, 2]

    @pytest.mark.parametrize(("default", "start"), DEFAULTS.values(), ids=DEFAULTS)
    def test_fn_starts_from_the_default(self, store: Store, default: Any, start: Any) -> None:
        assert store.update("a", lambda old: [old, 1], default) == [start, 1]
        assert store.update("a", lambda old: [*old, 2], default) == [start, 1, 2]

    def test_a_default_is_not_called_where_an_entry_is(self, store: Store) -> None:
        store.set("a", 1)
        assert store.update("a", lambda old: old + 1, lambda: pytest.fail("It was called.")) == 2

    @pytest.mark.parametrize("value", [0, "", [], False, {"a": 1}])
    def test_a_function_that_forgets_to_return_raises(
        self, store: Store, unwritten: Store, value: Any
    ) -> None:
        store.set("a", value, expires=3600)
        with pytest.raises(TypeError, match="returned None"):
            unwritten.update("a", lambda old: None)
        with pytest.raises(TypeError, match="returned None"):
            unwritten.update("b", lambda old: None, value)

    def test_a_value_that_was_none_may_stay_none(self, store: Store) -> None:
        store.set("a", None)
        assert store.update("a", lambda old: old) is None
        assert store.update("b", lambda old: old, None) is None
        assert dict(store.items()) == {"a": Item(None, None), "b": Item(None, None)}

    def test_nothing_is_written_where_fn_raises(self, store: Store, unwritten: Store) -> None:
        store.set("a", [1])
        with pytest.raises(ZeroDivisionError):
            unwritten.update("a", lambda old: old.append(1 // 0))
        with pytest.raises(EncodeError):
            unwritten.update("a", lambda old: object())
        with pytest.raises(ZeroDivisionError):
            unwritten.update("b", str, lambda: 1 // 0)

    def test_update_returns_what_a_later_get_would(self, store: Store) -> None:
        assert store.update("a", lambda old: (old, {1: 2}), "x") == ["x", {"1": 2}]
        assert store.get("a") == ["x", {"1": 2}]
        assert store.update("c", lambda old: old, Cart(["x"])) == {"items": ["x"]}
        cart = store.update("c", lambda old: Cart([*old.items, "y"]), as_=Cart)
        assert cart == Cart(["x", "y"]) == store.get("c", as_=Cart)
        created = store.update("d", lambda old: Cart([*old.items, "y"]), Cart, as_=Cart)
        assert created == Cart(["y"]) == store.get("d", as_=Cart)

    def test_update_of_an_entry_that_another_removed_is_a_missing_key_error(
        self, store: Store
    ) -> None:
        store.set("a", 1)
        _, fn = interfering(store, lambda old: old + 1, lambda store: store.remove("a"))
        with pytest.raises(MissingKeyError):
            store.update("a", fn)
        assert "a" not in store

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

    def test_a_pop_that_keeps_losing_comes_to_an_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.store.TRIES", 3)
        monkeypatch.setattr(store.driver, "remove_if", lambda *args: False)
        store.set("a", 1)
        with pytest.raises(ContentionError, match="'a'"):
            store.pop("a")
        assert store.get("a") == 1

    # Versions.

    @pytest.mark.parametrize("version", [None, 1, b"1"], ids=repr)
    def test_a_version_that_is_not_a_str_is_a_type_error(self, store: Store, version: Any) -> None:
        store.set("a", 1)
        with pytest.raises(TypeError, match="version must be a str"):
            store.replace("a", 2, version)
        if version is not None:
            with pytest.raises(TypeError, match="version must be a str"):
                store.remove("a", version=version)
        assert store.get("a") == 1

    def test_a_replace_that_keeps_losing_comes_to_an_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.store.TRIES", 3)
        monkeypatch.setattr(store.driver, "replace", lambda *args, **kwargs: False)
        monkeypatch.setattr(store.driver, "remove_if", lambda *args: False)
        store.set("a", 1)
        item = store.get_item("a")
        assert item is not None
        with pytest.raises(ContentionError, match="replace\\('a'\\)"):
            store.replace("a", 2, item.version)
        with pytest.raises(ContentionError, match="remove\\('a'\\)"):
            store.remove("a", version=item.version)

    def test_nothing_is_replaced_by_what_can_not_be_stored(self, uncalled: Store) -> None:
        with pytest.raises(EncodeError):
            uncalled.replace("a", object(), "version")

    # get_or_create.

    @pytest.mark.parametrize(("default", "value"), DEFAULTS.values(), ids=DEFAULTS)
    def test_a_value_is_created_once(self, store: Store, default: Any, value: Any) -> None:
        assert store.get_or_create("a", default) == (value, True)
        assert store.get_or_create("a", default) == (value, False)
        assert store.get_or_create("a", "other") == (value, False)
        assert store.get_item("a") == Item(value, None)

    def test_what_is_there_is_left_as_it_is(self, store: Store, unwritten: Store) -> None:
        store.set("a", "old", expires=3600)
        found = unwritten.get_or_create("a", lambda: pytest.fail("It was called."), expires=None)
        assert found == ("old", False)

    def test_a_new_entry_has_the_expiry_that_was_given(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        store.get_or_create("a", 1, expires=3600)
        store.get_or_create("b", 1, expires=None)
        assert in_an_hour(expires_at(store))
        assert expires_at(store, "b") is None

    def test_what_comes_back_is_what_a_later_get_returns(self, store: Store) -> None:
        assert store.get_or_create("a", (1, 2)) == ([1, 2], True)
        assert store.get_or_create("a", (3,)) == ([1, 2], False)
        assert store.get_or_create("b", Cart(["x"])) == ({"items": ["x"]}, True)
        assert store.get_or_create("c", Cart(["x"]), as_=Cart) == (Cart(["x"]), True)
        assert store.get_or_create("c", Cart(["y"]), as_=Cart) == (Cart(["x"]), False)

    def test_the_loser_of_a_race_learns_of_another_type(self, store: Store) -> None:
        def default() -> int:
            store.create("a", "theirs")
            return 1

        with pytest.raises(DecodeError):
            store.get_or_create("a", default, as_=int)
        assert store.get("a") == "theirs"

    def test_a_default_is_called_once_however_often_it_loses(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = store.driver.create
        lost = iter(["theirs", "theirs"])

        def late(*args: Any) -> bool:
            if next(lost, None):
                return False  # another's entry, which is gone again by the next read
            return create(*args)

        calls: list[int] = []
        monkeypatch.setattr(store.driver, "create", late)

        def default() -> int:
            calls.append(1)
            return len(calls)

        assert store.get_or_create("a", default) == (1, True)
        assert store.get("a") == 1

    def test_nothing_is_created_where_the_default_fails(
        self, store: Store, unwritten: Store
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            unwritten.get_or_create("a", lambda: 1 // 0)
        with pytest.raises(EncodeError):
            unwritten.get_or_create("a", object())
        store.set("a", 1)
        # Where there is an entry the default isn't looked at.
        assert unwritten.get_or_create("a", object()) == (1, False)

    def test_a_race_that_is_always_lost_comes_to_an_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.store.TRIES", 3)
        monkeypatch.setattr(store.driver, "create", lambda *args: False)
        with pytest.raises(ContentionError, match="'a'"):
            store.get_or_create("a", 1)
        assert "a" not in store
