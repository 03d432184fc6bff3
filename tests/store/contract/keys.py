"""What a key is, for every call."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from django_persist import Key, Store
from django_persist.contract.base import MakeStore
from django_persist.exceptions import (
    DuplicateKeyError,
    InvalidKeyError,
    MissingKeyError,
    PersistError,
)
from tests.store.contract.base import Contract

CALLS: dict[str, Callable[[Store, Any], object]] = {
    "create": lambda store, key: store.create(key, 1),
    "set": lambda store, key: store.set(key, 1),
    "get": lambda store, key: store.get(key),
    "get_item": lambda store, key: store.get_item(key),
    "remove": lambda store, key: store.remove(key),
    "contains": lambda store, key: key in store,
    "touch": lambda store, key: store.touch(key),
    "pop": lambda store, key: store.pop(key),
    "update": lambda store, key: store.update(key, str, 1),
    "get_or_create": lambda store, key: store.get_or_create(key, 1),
    "incr": lambda store, key: store.incr(key),
    "get_many": lambda store, key: store.get_many(["a", key]),
    "set_many": lambda store, key: store.set_many({"a": 1, key: 2}),
    "remove_many": lambda store, key: store.remove_many(["a", key]),
}
LISTINGS = ["keys", "items", "count", "clear"]
INVALID: dict[str, Any] = {
    "empty": "",
    "256 characters": "k" * 256,
    "NUL": "a\0b",
    "NUL at the end": "a\0",
    "lone surrogate": "a\ud800",
    "surrogates in the wrong order": "\udc00\ud800",
}


class Name(StrEnum):
    KEY = "key"


class Shouting(str):
    """A str that lies about itself where it is formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()

    __repr__ = __str__


class KeysContract(Contract):
    """What a key is, for every call."""

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    @pytest.mark.parametrize("key", INVALID.values(), ids=INVALID)
    def test_a_key_that_some_driver_cannot_hold_is_refused(
        self, uncalled: Store, call: Callable[[Store, Any], object], key: Any
    ) -> None:
        with pytest.raises(InvalidKeyError):
            call(uncalled, key)

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    @pytest.mark.parametrize("key", [None, 1, b"a", 1.5, ("a",), Store], ids=repr)
    def test_a_key_that_is_not_a_str_is_a_type_error(
        self, uncalled: Store, call: Callable[[Store, Any], object], key: Any
    ) -> None:
        with pytest.raises(TypeError, match="key must be a str or a Key, not "):
            call(uncalled, key)

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_key_without_its_parts_is_refused(
        self, uncalled: Store, call: Callable[[Store, Any], object]
    ) -> None:
        with pytest.raises(InvalidKeyError, match="'x:{a}:{b}' needs its parts: call it with a, b"):
            call(uncalled, Key("x:{a}:{b}"))

    @pytest.mark.parametrize("call", LISTINGS)
    @pytest.mark.parametrize("prefix", ["a\0", "\ud800"], ids=ascii)
    def test_a_prefix_that_no_key_can_have_is_refused(
        self, uncalled: Store, call: str, prefix: str
    ) -> None:
        with pytest.raises(InvalidKeyError):
            getattr(uncalled, call)(prefix)

    @pytest.mark.parametrize("call", LISTINGS)
    def test_a_prefix_that_is_not_a_str_is_a_type_error(self, uncalled: Store, call: str) -> None:
        with pytest.raises(TypeError, match="prefix must be a str, not NoneType"):
            getattr(uncalled, call)(None)

    @pytest.mark.parametrize("batch_size", [0, -1, True, 1.5, "10", None], ids=repr)
    def test_a_batch_size_that_is_not_a_positive_int_is_refused(
        self, uncalled: Store, batch_size: Any
    ) -> None:
        with pytest.raises(ValueError, match="batch_size must be a positive int"):
            uncalled.purge(batch_size)

    @pytest.mark.parametrize(
        "key",
        [mark_safe("key"), Name.KEY, Shouting("key"), Key("key")],
        ids=lambda key: type(key).__name__,
    )
    @pytest.mark.parametrize("call", CALLS)
    def test_any_kind_of_str_is_the_key_that_it_equals(
        self, store: Store, key: Any, call: str
    ) -> None:
        if call in ("update", "incr", "get", "contains"):
            store.set("key", 5)
        CALLS[call](store, key)
        assert set(store.keys()) <= {"a", "key"}
        store.set(key, 6)
        assert store.get("key") == 6
        assert store.get_many([key]) == {key: 6}
        assert all(type(found) is str for found, _ in store.items())
        assert store.remove("key")

    @pytest.mark.parametrize("keys", ["session", Key("session")], ids=["str", "Key"])
    @pytest.mark.parametrize("call", ["get_many", "remove_many"])
    def test_one_key_is_not_many(self, uncalled: Store, call: str, keys: Any) -> None:
        with pytest.raises(TypeError, match="an iterable of keys"):
            getattr(uncalled, call)(keys)

    def test_a_duplicate_has_the_key_as_the_caller_gave_it(self, make_store: MakeStore) -> None:
        store = make_store(prefix="p:").namespace("shop")
        store.create("a:b", "secret")
        with pytest.raises(DuplicateKeyError) as caught:
            store.create("a:b", "secret")
        assert caught.value.key == "a:b"
        assert "'a:b'" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value, PersistError)

    def test_a_missing_key_is_the_one_that_the_caller_gave(self, make_store: MakeStore) -> None:
        store = make_store(prefix="p:").namespace("shop")
        with pytest.raises(MissingKeyError, match="'a:b' has no live entry") as caught:
            store.update("a:b", lambda old: pytest.fail("fn was called"))
        assert caught.value.key == "a:b"
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, PersistError)
        assert store.count() == 0

    def test_stores_of_disjoint_prefixes_share_nothing(self, make_store: MakeStore) -> None:
        one = make_store(prefix="a")
        other = make_store(prefix="b")
        one.incr("n", 3)
        other.incr("n", 4)
        assert (one.get("n"), other.get("n")) == (3, 4)
        assert other.get_many(["n", "an"]) == {"n": 4}
        assert one.remove_many(["n", "bn"]) == 1
        assert list(other.keys()) == ["n"]

    def test_clear_leaves_what_belongs_to_another_prefix(self, make_store: MakeStore) -> None:
        plain = make_store()
        plain.set_many({"a": 1, "ab": 2, "b:a": 3})
        assert make_store(prefix="b:").clear() == 1
        assert sorted(plain.keys()) == ["a", "ab"]
