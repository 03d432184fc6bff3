"""What get_many, set_many and remove_many take and return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from django_persist import KEEP, Key, Store
from django_persist.drivers.base import Text
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import (
    DecodeError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
    PersistError,
)
from tests.store.contract.base import Contract


class BackwardsDriver(MemoryDriver):
    """A driver whose get_many returns the last key first, as a driver may."""

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        return super().get_many(keys)[::-1]


class ManyContract(Contract):
    """What get_many, set_many and remove_many take and return."""

    def test_results_are_keyed_by_what_was_passed(self, store: Store) -> None:
        cart, plain = Key("{name}", as_=list[int])(name="a"), Key("b")
        store.set_many({"a": [1], "b": {"x": 2}, "c": 3})
        found = store.get_many([cart, "a", plain, "c", "missing", Key("missing")])
        assert found == {cart: [1], "a": [1], plain: {"x": 2}, "c": 3}
        assert [type(key) for key in found] == [Key, str, Key, str]

    @pytest.mark.parametrize("driver_class", [MemoryDriver, BackwardsDriver])
    @pytest.mark.parametrize("prefix", ["", "p:"])
    def test_results_come_in_the_order_of_the_keys(
        self, driver_class: type[MemoryDriver], prefix: str
    ) -> None:
        store = Store(driver_class(name=str(uuid4())), prefix=prefix)
        store.set_many({"a": 1, "b": 2, "c": 3})
        assert list(store.get_many(["c", "missing", "a", "b"])) == ["c", "a", "b"]
        assert list(store.get_many(["b", "c", "a"]).items()) == [("b", 2), ("c", 3), ("a", 1)]
        assert list(store.get_many(["b", "c", "a"], as_=int)) == ["b", "c", "a"]

    def test_keys_can_be_any_iterable(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 2})
        assert store.get_many(key for key in ("a", "b")) == {"a": 1, "b": 2}
        assert store.get_many({"a", "b"}) == {"a": 1, "b": 2}
        assert store.get_many({"a": "ignored"}) == {"a": 1}
        assert store.remove_many(key for key in ("a", "b")) == 2

    def test_strict_reports_the_first_value_of_another_type(self, store: Store) -> None:
        store.set_many({"a": 1, "b": "text"})
        with pytest.raises(DecodeError, match="'b'"):
            store.get_many(["a", "b"], as_=int, strict=True)
        with pytest.raises(DecodeError, match="'b'"):
            store.get_many([Key("a", as_=int), Key("b", as_=int)], strict=True)

    def test_values_of_another_type_are_left_out(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.set_many({"a": 1, "b": "text", "c": 3, "d": None})
        assert store.get_many(["a", "b", "c", "d"], as_=int) == {"a": 1, "c": 3}
        assert len(caplog.records) == 2

    def test_create_many_returns_the_keys_as_they_were_passed(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 1})
        twice: dict[Any, Any] = {Key("a"): 2, "c": 2, Key("b"): 2, Key("c"): 3, "a": 4}
        left = store.create_many(twice)
        assert left == [Key("a"), Key("b"), Key("c"), "a"]
        assert [type(key) for key in left] == [Key, Key, Key, str]
        assert store.get_many(["a", "b", "c"]) == {"a": 1, "b": 1, "c": 2}

    def test_create_many_refuses_keep(self, uncalled: Store) -> None:
        with pytest.raises(TypeError, match="KEEP"):
            uncalled.create_many({"a": 1}, expires=KEEP)  # type: ignore[call-overload]

    def test_a_name_that_is_given_twice_makes_one_entry(self, store: Store) -> None:
        twice: dict[Any, Any] = {"a": 1, Key("a", expires=60): 2}
        store.set_many(twice)
        item = store.get_item("a")
        assert item is not None
        assert item.value == 2
        assert item.ttl is not None

    @pytest.mark.parametrize(
        ("bad", "expires", "error"),
        [
            ({"bad": object()}, None, EncodeError),
            ({"bad": float("nan")}, None, EncodeError),
            ({"": 1}, None, InvalidKeyError),
            ({"k" * 256: 1}, None, InvalidKeyError),
            ({"\0": 1}, None, InvalidKeyError),
            ({Key("x:{a}"): 1}, None, InvalidKeyError),
            ({5: 1}, None, TypeError),
            ({"bad": 1}, datetime(2999, 1, 1), InvalidExpiryError),
            ({"bad": 1}, -1, InvalidExpiryError),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else None,
    )
    @pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
    def test_nothing_is_written_where_one_is_bad(
        self, uncalled: Store, bad: Any, expires: Any, error: type[PersistError], last: bool
    ) -> None:
        good: Any = {"old": 2, "new": 2}
        mapping = {**good, **bad} if last else {**bad, **good}
        for call in (uncalled.set_many, uncalled.create_many):
            with pytest.raises(error):
                call(mapping, expires=expires)

    @pytest.mark.parametrize(
        "keys", [["a", ""], ["a", "\0"], ["k" * 256], ["a", Key("x:{a}")]], ids=str
    )
    @pytest.mark.parametrize("call", ["get_many", "remove_many"])
    def test_nothing_is_done_where_one_key_is_bad(
        self, uncalled: Store, call: str, keys: Any
    ) -> None:
        with pytest.raises(InvalidKeyError):
            getattr(uncalled, call)(keys)
