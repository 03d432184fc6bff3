"""incr: an atomic counter of 64 bits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import CounterRangeError, DecodeError, PersistError
from ..store import Item, Store
from .base import Contract, MakeStore

MOST = 2**63 - 1
LEAST = -(2**63)
HOUR = timedelta(hours=1)
NO_INTEGERS = [
    "1",
    "",
    " 1",
    "text",
    1.0,
    -0.0,
    1.5,
    1e22,
    True,
    False,
    None,
    [],
    [1],
    {},
    {"1": 1},
]


class CountersContract(Contract):
    """incr: an atomic counter of 64 bits."""

    def test_a_counter_starts_at_zero(self, store: Store) -> None:
        assert store.incr("a") == 1
        assert store.incr("a") == 2
        assert store.incr("a", 40) == 42
        assert store.get("a") == 42
        assert type(store.get("a")) is int

    @pytest.mark.parametrize(
        "by", [1, 0, -1, 1000, 2**31, 2**32, 2**53 + 1, -(2**53) - 1, MOST, LEAST]
    )
    @pytest.mark.parametrize("expires", [None, HOUR, datetime(2999, 1, 1, tzinfo=UTC)], ids=str)
    def test_a_counter_starts_by_whatever_is_given(
        self, store: Store, by: int, expires: Any
    ) -> None:
        assert store.incr("a", by, expires=expires) == by
        assert store.get("a") == by
        assert store.incr("a", 0, expires=expires) == by
        assert store.incr("a", -1 if by > 0 else 1, expires=expires) == by - (1 if by > 0 else -1)

    @pytest.mark.parametrize(
        "start", [0, 5, -1, -5, 10, 99, 2**53, MOST - 1, LEAST + 1, MOST, LEAST]
    )
    @pytest.mark.parametrize("by", [0, 1, -1, 9, -9, 2**53 + 1, -(2**62), MOST, LEAST])
    def test_the_sum_is_exact_or_refused(self, store: Store, start: int, by: int) -> None:
        store.set("a", start, expires=3600)
        before = store.get_item("a")
        assert before is not None
        if LEAST <= start + by <= MOST:
            assert store.incr("a", by) == start + by
            assert store.get_item("a") == Item(start + by, before.expires_at)
        else:
            with pytest.raises(CounterRangeError, match="'a'") as caught:
                store.incr("a", by)
            assert store.get_item("a") == before
            assert isinstance(caught.value, OverflowError)
            assert isinstance(caught.value, PersistError)

    @pytest.mark.parametrize("by", [MOST + 1, LEAST - 1, 2**100, -(2**100)])
    def test_a_step_past_the_range_is_refused(self, store: Store, by: int) -> None:
        with pytest.raises(CounterRangeError):
            store.incr("new", by)
        store.set("a", 5)
        with pytest.raises(CounterRangeError):
            store.incr("a", by)
        assert dict(store.items()) == {"a": Item(5, None)}

    @pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
    @pytest.mark.parametrize("by", [1, 0, -1, MOST, LEAST])
    def test_a_value_that_is_no_integer_is_left_as_it_is(
        self, store: Store, value: Any, by: int
    ) -> None:
        store.set("a", value, expires=3600)
        before = store.get_item("a")
        with pytest.raises(DecodeError, match="'a'") as caught:
            store.incr("a", by)
        assert "text" not in str(caught.value)
        assert repr(store.get_item("a")) == repr(before)

    @pytest.mark.parametrize("value", [MOST + 1, LEAST - 1, 2**64, -(2**64), 10**18 * 99, 10**30])
    @pytest.mark.parametrize("by", [0, 1, -1, MOST, LEAST])
    def test_an_integer_past_the_range_is_left_as_it_is(
        self, store: Store, value: int, by: int
    ) -> None:
        store.set("a", value, expires=3600)
        before = store.get_item("a")
        with pytest.raises(CounterRangeError, match="'a'"):
            store.incr("a", by)
        assert store.get_item("a") == before

    def test_expires_counts_only_for_the_call_that_starts_the_counter(self, store: Store) -> None:
        store.incr("a", expires=3600)
        before = store.get_item("a")
        assert before is not None
        assert before.ttl is not None
        assert HOUR / 2 < before.ttl < HOUR * 2
        store.incr("a", expires=5)
        store.incr("a", expires=None)
        store.incr("a")
        assert store.get_item("a") == Item(4, before.expires_at)

    def test_a_counter_without_an_expiry_gets_none_later(self, store: Store) -> None:
        store.incr("a")
        store.incr("a", expires=5)
        assert store.get_item("a") == Item(2, None)

    def test_a_counter_starts_with_the_default_expiry(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=3600)
        store.incr("a")
        item = store.get_item("a")
        assert item is not None
        assert item.ttl is not None
        assert HOUR / 2 < item.ttl < HOUR * 2
        store.touch("a", None)
        store.incr("a")
        assert store.get_item("a") == Item(2, None)

    def test_a_counter_is_a_value_as_any_other(self, store: Store) -> None:
        store.set("a", 5)
        assert store.incr("a", 2) == 7
        assert store.update("a", lambda old: old * 2) == 14
        assert store.incr("a", -4) == 10
        assert store.get("a", as_=int, strict=True) == 10
        assert store.get_many(["a"]) == {"a": 10}
        assert store.pop("a") == 10
        assert store.incr("a") == 1

    def test_incr_starts_anew_where_another_removed_what_it_could_not_count(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        get = store.driver.get

        def late(*args: Any, **kwargs: Any) -> Any:
            store.remove("a")
            return get(*args, **kwargs)

        monkeypatch.setattr(store.driver, "get", late)
        store.set("a", "no integer")
        assert store.incr("a", 3) == 3

    @pytest.mark.parametrize("by", [True, 1.0, "1", None, b"1", [1]], ids=repr)
    def test_a_step_that_is_no_int_is_a_type_error(self, store: Store, by: Any) -> None:
        store.set("a", 5)
        for key in ("a", "new"):
            with pytest.raises(TypeError, match="by must be an int, not"):
                store.incr(key, by)
        assert dict(store.items()) == {"a": Item(5, None)}
