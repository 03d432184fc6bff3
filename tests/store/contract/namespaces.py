"""Namespaces: the same store, with its keys under a name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from django_persist import Item, Key, Store
from django_persist.contract.base import MakeStore
from django_persist.contract.keys import SIBLINGS
from django_persist.exceptions import InvalidKeyError
from tests.store.contract.base import Contract


class NamespacesContract(Contract):
    """Namespaces: the same store, with its keys under a name."""

    def test_a_key_of_a_namespace_begins_with_its_name(self, store: Store) -> None:
        store.namespace("shop").set("cart", 1)
        assert list(store.keys()) == ["shop:cart"]
        assert store.get("cart") is None
        assert store.get("shop:cart") == 1

    def test_namespaces_nest(self, store: Store) -> None:
        inner = store.namespace("a").namespace("b").namespace("c")
        inner.set("key", 1)
        assert list(store.keys()) == ["a:b:c:key"]
        assert list(store.namespace("a").keys()) == ["b:c:key"]
        assert list(inner.keys()) == ["key"]
        assert inner.pop("key") == 1

    def test_every_call_keeps_to_the_namespace(self, store: Store) -> None:
        store.set_many({"key": "outer", "n": 1})
        shop = store.namespace("shop")
        shop.create("key", "inner")
        shop.set("n", 10)
        assert shop.incr("n") == 11
        assert shop.touch("n", 60)
        assert shop.update("key", str.upper) == "INNER"
        assert shop.get_or_create("key", "new") == ("INNER", False)
        assert shop.get_many(["key", "n", "shop:n"]) == {"key": "INNER", "n": 11}
        assert sorted(shop.keys()) == ["key", "n"]
        assert list(shop.keys("k")) == ["key"]
        assert list(shop.keys("shop")) == []
        assert {key: item.value for key, item in shop.items("n")} == {"n": 11}
        assert shop.get_item("key") == Item("INNER", None)
        assert shop.count() == 2
        assert "key" in shop
        assert "shop:key" not in shop
        assert shop.pop("key") == "INNER"
        assert shop.remove_many(["n", "key"]) == 1
        shop.set_many({"x": 1, "y": 2})
        assert shop.remove("x")
        assert shop.clear() == 1
        assert dict(store.items()) == {"key": Item("outer", None), "n": Item(1, None)}

    def test_siblings_never_share_a_key(self, store: Store) -> None:
        for number, name in enumerate(SIBLINGS):
            store.namespace(name).create("key", number)
        for number, name in enumerate(SIBLINGS):
            assert store.namespace(name).get("key") == number
            assert list(store.namespace(name).keys()) == ["key"]

    def test_an_empty_namespace_is_empty(self, store: Store) -> None:
        store.set_many({"shop": 1, "sho": 2, "shop;": 3, "shop9": 4})
        shop = store.namespace("shop")
        assert (list(shop.keys()), list(shop.items()), shop.count(), shop.clear()) == ([], [], 0, 0)
        assert store.count() == 4

    @pytest.mark.parametrize(("name", "same"), [(4, "4"), (UUID(int=1), str(UUID(int=1)))])
    def test_a_name_can_be_an_int_or_a_uuid(self, store: Store, name: Any, same: str) -> None:
        store.namespace(name).set("key", 1)
        assert store.namespace(same).get("key") == 1

    @pytest.mark.parametrize("name", [None, 1.5, True, b"a", Key("a")], ids=repr)
    def test_a_name_of_another_type_is_a_type_error(self, uncalled: Store, name: Any) -> None:
        with pytest.raises(TypeError, match="must be a str, int or UUID, not "):
            uncalled.namespace(name)

    @pytest.mark.parametrize("name", ["", "a\0", "\ud800", "n" * 255], ids=ascii)
    def test_an_invalid_name_is_refused(self, uncalled: Store, name: str) -> None:
        with pytest.raises(InvalidKeyError):
            uncalled.namespace(name)

    @pytest.mark.parametrize(
        ("names", "left"),
        [(["n" * 100], 154), (["n" * 100, "m" * 100], 53), ([":" * 50], 104), (["😀" * 100], 154)],
        ids=["one", "nested", "quoted", "emoji"],
    )
    def test_a_namespace_counts_towards_the_length(
        self, make_store: MakeStore, make_uncalled: MakeStore, names: list[str], left: int
    ) -> None:
        store, uncalled = make_store(prefix="p" * 64), make_uncalled(prefix="p" * 64)
        for name in names:
            store, uncalled = store.namespace(name), uncalled.namespace(name)
        store.create("k" * left, 1)
        assert store.get("k" * left) == 1
        assert list(store.keys()) == ["k" * left]
        for call in (uncalled.get, uncalled.incr, uncalled.remove):
            with pytest.raises(InvalidKeyError, match="at most 255 characters; this one has 256"):
                call("k" * (left + 1))
        with pytest.raises(InvalidKeyError):
            uncalled.set_many({"a": 1, "k" * (left + 1): 2})

    def test_a_key_object_can_be_used_in_a_namespace(self, store: Store) -> None:
        shop, cart = store.namespace("shop"), Key("cart:{user}", as_=list[int], expires=3600)
        shop.set(cart(user=4), [1])
        assert list(shop.keys()) == ["cart:4"]
        assert list(store.keys()) == ["shop:cart:4"]
        assert shop.get(cart(user=4)) == [1]
        item = shop.get_item(cart(user=4))
        assert item is not None
        assert item.ttl is not None
