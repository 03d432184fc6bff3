"""get_or_create: of any number of callers one creates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from ..exceptions import ContentionError, DecodeError, EncodeError
from ..store import Item, Store
from .base import Contract, MakeStore


@dataclass
class Cart:
    items: list[str]


class GetOrCreateContract(Contract):
    """get_or_create: of any number of callers one creates."""

    @pytest.mark.parametrize(
        ("default", "value"),
        [([1], [1]), (dict, {}), (lambda: [2], [2])],
        ids=["value", "class", "fn"],
    )
    def test_a_value_is_created_once(self, store: Store, default: Any, value: Any) -> None:
        assert store.get_or_create("a", default) == (value, True)
        assert store.get_or_create("a", default) == (value, False)
        assert store.get("a") == value

    def test_what_is_there_is_left_as_it_is(self, store: Store) -> None:
        store.set("a", "old", expires=3600)
        before = store.get_item("a")
        assert store.get_or_create("a", lambda: pytest.fail("made"), expires=None) == ("old", False)
        assert store.get_item("a") == before

    def test_none_is_a_value_to_create_and_to_get(self, store: Store) -> None:
        assert store.get_or_create("a", None) == (None, True)
        assert store.get_or_create("a", 1) == (None, False)

    def test_a_new_entry_has_the_expiry_that_was_given(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        store.get_or_create("a", 1, expires=3600)
        store.get_or_create("b", 1, expires=None)
        store.get_or_create("c", 1)
        left = {key: item.ttl for key, item in store.items()}
        assert left["b"] is None
        assert left["a"] is not None
        assert timedelta(minutes=59) < left["a"] <= timedelta(hours=1)
        assert left["c"] is not None
        assert timedelta(seconds=50) < left["c"] <= timedelta(seconds=60)

    def test_what_comes_back_is_what_a_later_get_returns(self, store: Store) -> None:
        assert store.get_or_create("a", (1, 2)) == ([1, 2], True)
        assert store.get_or_create("a", (3,)) == ([1, 2], False)
        assert store.get_or_create("b", Cart(["x"])) == ({"items": ["x"]}, True)
        assert store.get_or_create("c", Cart(["x"]), as_=Cart) == (Cart(["x"]), True)
        assert store.get_or_create("c", Cart(["y"]), as_=Cart) == (Cart(["x"]), False)

    def test_the_loser_of_a_race_gets_the_winners_value(self, store: Store) -> None:
        made: list[str] = []

        def default() -> str:
            made.append("mine")
            store.create("a", "theirs")
            return "mine"

        assert store.get_or_create("a", default) == ("theirs", False)
        assert made == ["mine"]
        assert store.get("a") == "theirs"

    def test_the_loser_of_a_race_is_told_of_another_type(self, store: Store) -> None:
        def default() -> int:
            store.create("a", "theirs")
            return 1

        with pytest.raises(DecodeError):
            store.get_or_create("a", default, as_=int)
        assert store.get("a") == "theirs"

    def test_a_default_is_made_once_however_often_it_loses(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = store.driver.create
        lost = iter(["theirs", "theirs"])

        def late(*args: Any) -> bool:
            if next(lost, None):
                return False  # another's entry, which is gone again by the next read
            return create(*args)

        made: list[int] = []
        monkeypatch.setattr(store.driver, "create", late)

        def default() -> int:
            made.append(1)
            return len(made)

        assert store.get_or_create("a", default) == (1, True)
        assert store.get("a") == 1

    def test_nothing_is_created_where_the_default_fails(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            store.get_or_create("a", lambda: 1 // 0)
        with pytest.raises(EncodeError):
            store.get_or_create("a", object())
        assert "a" not in store
        store.set("a", 1)
        # Where there is an entry the default isn't looked at.
        assert store.get_or_create("a", object()) == (1, False)
        assert dict(store.items()) == {"a": Item(1, None)}

    def test_a_race_that_is_always_lost_comes_to_an_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.store.TRIES", 3)
        monkeypatch.setattr(store.driver, "create", lambda *args: False)
        with pytest.raises(ContentionError, match="'a'"):
            store.get_or_create("a", 1)
        assert "a" not in store
