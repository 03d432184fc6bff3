"""The type and the lifetime of a Key hold for every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from django_persist import DEFAULT, KEEP, Item, Key, Store
from django_persist.contract.base import MakeStore
from django_persist.exceptions import DecodeError, DuplicateKeyError
from tests.store.contract.base import Contract

HOUR = timedelta(hours=1)


@dataclass
class Cart:
    items: list[str]


CART = Key("cart:{user_id}", as_=Cart, expires=HOUR)
MINE = CART(user_id=4)
FULL = Cart(["spoon"])


def in_an_hour(item: Item[Any] | None) -> bool:
    return item is not None and item.ttl is not None and HOUR / 2 < item.ttl < HOUR * 2


READS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get(MINE),
    "get default": lambda store: store.get(MINE, None),
    "get_item": lambda store: getattr(store.get_item(MINE), "value", None),
    "get_many": lambda store: store.get_many([MINE]).get(MINE),
    "pop": lambda store: store.pop(MINE),
    "update": lambda store: store.update(MINE, lambda cart: Cart(list(cart.items))),
    "get_or_create": lambda store: store.get_or_create(MINE, Cart([]))[0],
}
WRITES: dict[str, Callable[[Store, dict[str, Any]], object]] = {
    "create": lambda store, more: store.create(MINE, FULL, **more),
    "set": lambda store, more: store.set(MINE, FULL, **more),
    "set_many": lambda store, more: store.set_many({MINE: FULL}, **more),
    "get_or_create": lambda store, more: store.get_or_create(MINE, FULL, **more),
    "update": lambda store, more: store.update(MINE, lambda cart: cart, FULL, **more),
    "create_many": lambda store, more: store.create_many({MINE: FULL}, **more),
}


class TypedKeysContract(Contract):
    """The type and the lifetime of a Key hold for every call."""

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_every_read_returns_the_keys_type(
        self, store: Store, read: Callable[[Store], object]
    ) -> None:
        store.set(MINE, FULL)
        assert store.get("cart:4") == {"items": ["spoon"]}
        assert read(store) == FULL

    @pytest.mark.parametrize("read", ["get", "get_item", "get_many", "pop"])
    def test_a_value_of_another_type_than_the_keys_counts_as_absent(
        self, store: Store, read: str
    ) -> None:
        store.set("cart:4", {"items": "spoon"})
        assert READS[read](store) is None
        assert store.get("cart:4") == {"items": "spoon"}

    @pytest.mark.parametrize("read", ["update", "get_or_create"])
    def test_a_value_of_another_type_than_the_keys_is_an_error(
        self, store: Store, unwritten: Store, read: str
    ) -> None:
        store.set("cart:4", {"items": "spoon"})
        with pytest.raises(DecodeError, match="'cart:4' is not of the type Cart"):
            READS[read](unwritten)

    def test_the_types_of_a_call_win_over_the_keys(self, store: Store) -> None:
        store.set(MINE, FULL)
        plain = {"items": ["spoon"]}
        as_: Any = dict[str, list[str]]
        assert store.get(MINE, as_=as_) == plain
        assert store.get_item(MINE, as_=as_) == Item(plain, store.get_item(MINE).expires_at)  # type: ignore[union-attr]
        assert store.get_many([MINE], as_=as_) == {MINE: plain}
        assert store.get_or_create(MINE, {}, as_=as_) == (plain, False)
        assert store.update(MINE, lambda old: {**old, "more": []}, as_=as_) == {**plain, "more": []}
        assert store.pop(MINE, as_=as_) == {**plain, "more": []}

    @pytest.mark.parametrize(
        ("write", "more"),
        [
            *((write, more) for write in WRITES for more in ({}, {"expires": DEFAULT})),
            *((write, {"expires": KEEP}) for write in ("set", "set_many", "update")),
        ],
    )
    def test_every_write_gives_a_new_entry_the_keys_lifetime(
        self, make_store: MakeStore, write: str, more: dict[str, Any]
    ) -> None:
        store = make_store(default_expires=60)
        WRITES[write](store, more)
        assert in_an_hour(store.get_item("cart:4"))

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_the_lifetime_of_a_call_wins_over_the_keys(
        self, store: Store, write: Callable[[Store, dict[str, Any]], object]
    ) -> None:
        write(store, {"expires": None})
        item = store.get_item("cart:4")
        assert item is not None
        assert item.expires_at is None

    def test_touch_gives_the_keys_lifetime(self, store: Store) -> None:
        store.set("cart:4", FULL)
        assert store.touch(MINE)
        assert in_an_hour(store.get_item(MINE))
        assert store.touch(MINE, None)
        assert store.get_item(MINE) == Item(FULL, None)

    def test_a_key_can_say_never_in_a_store_with_a_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        key = Key("a", expires=None)
        store.set(key, 1)
        assert store.get_item("a") == Item(1, None)

    def test_a_key_without_a_lifetime_has_the_stores(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=HOUR)
        store.set(Key("a", as_=int), 1)
        assert in_an_hour(store.get_item("a"))

    def test_keep_wins_over_the_keys_lifetime(self, store: Store) -> None:
        store.set("cart:4", FULL)
        store.set(MINE, FULL, expires=KEEP)
        assert store.get_item(MINE) == Item(FULL, None)

    def test_a_duplicate_has_the_keys_name(self, store: Store) -> None:
        store.create(MINE, FULL)
        with pytest.raises(DuplicateKeyError) as caught:
            store.create(MINE, FULL)
        assert caught.value.key == "cart:4"

    def test_a_key_of_another_type_wants_that_type(self, store: Store) -> None:
        store.set("cart:4", [1, 2])
        assert store.get(Key("cart:4", as_=list[int])) == [1, 2]
        assert store.get(Key("cart:4", as_=tuple[int, int])) == (1, 2)
        assert store.get(Key("cart:4")) == [1, 2]

    def test_contains_and_remove_go_by_the_name_alone(self, store: Store) -> None:
        store.set("cart:4", "no cart")
        assert MINE in store
        assert store.remove(MINE)
        assert MINE not in store
        store.set("cart:4", "no cart")
        assert store.remove_many([MINE]) == 1
