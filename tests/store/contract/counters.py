"""What incr refuses by itself, and how it goes on where a driver could not count."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from django_persist import Key, Store
from django_persist.contract.counters import LEAST, MOST
from django_persist.exceptions import CounterRangeError, EncodeError
from tests.store.contract.base import Contract

Positive = Annotated[int, msgspec.Meta(ge=0, le=5)]


class CountersContract(Contract):
    """What incr refuses by itself, and how it goes on where a driver could not count."""

    @pytest.mark.parametrize("by", [MOST + 1, LEAST - 1, 2**100, -(2**100)])
    def test_a_step_past_the_range_is_refused(self, uncalled: Store, by: int) -> None:
        with pytest.raises(CounterRangeError):
            uncalled.incr("a", by)

    @pytest.mark.parametrize("by", [True, 1.0, "1", None, b"1", [1]], ids=repr)
    def test_a_step_that_is_not_an_int_is_a_type_error(self, uncalled: Store, by: Any) -> None:
        with pytest.raises(TypeError, match="by must be an int, not"):
            uncalled.incr("a", by)

    @pytest.mark.parametrize(
        ("as_", "bounds"),
        [
            (Any, {}),
            (int, {}),
            (int | None, {}),
            (str | int, {}),
            (Positive, {"at_least": 1, "at_most": 5}),
            (list[int] | Positive, {"at_least": 0, "at_most": 5}),
        ],
        ids=str,
    )
    def test_a_counter_is_of_the_type_of_its_key(
        self, store: Store, as_: Any, bounds: dict[str, int]
    ) -> None:
        key = Key("a:{id}", as_=as_)(id=1)
        assert store.incr(key, 3, **bounds) == store.get(key, strict=True) == 3

    @pytest.mark.parametrize(
        ("as_", "bounds"),
        [
            (str, {}),
            (bool, {}),
            (list[int], {}),
            (dict[str, Any] | str, {}),
            (Literal[1, 2], {}),
            # No float has the value of every int.
            (float, {}),
            (Positive, {}),
            (Positive, {"at_least": -1, "at_most": 5}),
            (Positive, {"at_least": 0, "at_most": 6}),
            (Annotated[int, msgspec.Meta(gt=0, lt=6)], {"at_least": 0, "at_most": 5}),
            (Annotated[int, msgspec.Meta(lt=6)], {"at_most": 6}),
            (Annotated[int, msgspec.Meta(multiple_of=3)], {}),
        ],
        ids=str,
    )
    def test_a_counter_that_its_key_could_not_read_is_refused(
        self, uncalled: Store, as_: Any, bounds: dict[str, int]
    ) -> None:
        with pytest.raises(EncodeError, match="'a:1'.* Nothing was written"):
            uncalled.incr(Key("a:{id}", as_=as_)(id=1), 3, **bounds)

    def test_a_counter_of_a_type_that_can_not_be_validated(self, uncalled: Store) -> None:
        with pytest.raises(TypeError, match="complex"):
            uncalled.incr(Key("a", as_=complex))  # type: ignore[arg-type]

    def test_incr_begins_again_where_another_removed_what_it_could_not_count(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        get = store.driver.get

        def late(*args: Any, **kwargs: Any) -> Any:
            store.remove("a")
            return get(*args, **kwargs)

        monkeypatch.setattr(store.driver, "get", late)
        store.set("a", "no integer")
        assert store.incr("a", 3) == 3

    @pytest.mark.parametrize(("full", "left", "by"), [(10, 9, 1), (0, 1, -1)])
    def test_a_place_that_another_writer_gives_back_is_taken(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, full: int, left: int, by: int
    ) -> None:
        incr = store.driver.incr

        def give_back(*args: Any, **kwargs: Any) -> int | None:
            total = incr(*args, **kwargs)
            if total is None:
                store.set("a", left)
            return total

        monkeypatch.setattr(store.driver, "incr", give_back)
        store.set("a", full)
        assert store.incr("a", by, at_least=0, at_most=10) == full

    @pytest.mark.parametrize("bound", [True, 1.0, "1", b"1", [1]], ids=repr)
    @pytest.mark.parametrize("name", ["at_least", "at_most"])
    def test_a_bound_that_is_not_an_int_is_a_type_error(
        self, uncalled: Store, name: str, bound: Any
    ) -> None:
        with pytest.raises(TypeError, match=f"{name} must be an int, not"):
            uncalled.incr("a", **{name: bound})

    @pytest.mark.parametrize(
        ("at_least", "at_most"), [(2, 1), (MOST + 1, None), (None, LEAST - 1), (2**70, 2**80)]
    )
    def test_bounds_that_no_counter_is_within_are_a_value_error(
        self, uncalled: Store, at_least: Any, at_most: Any
    ) -> None:
        with pytest.raises(ValueError, match="at least"):
            uncalled.incr("a", at_least=at_least, at_most=at_most)

    def test_bounds_past_the_range_are_none(self, store: Store) -> None:
        store.set("a", MOST - 1)
        assert store.incr("a", at_least=-(2**70), at_most=2**70) == MOST
        with pytest.raises(CounterRangeError, match="the range of 64 bits"):
            store.incr("a", at_least=-(2**70), at_most=2**70)

    def test_the_error_names_the_bounds_and_not_the_value(self, store: Store) -> None:
        store.set("a", 7654)
        for bounds, message in (
            ({"at_most": 100}, "The counter 'a' would leave its bounds: at most 100."),
            ({"at_least": 9999}, "The counter 'a' would leave its bounds: at least 9999."),
            ({"at_least": 0, "at_most": 3}, "would leave its bounds: at least 0 and at most 3."),
        ):
            with pytest.raises(CounterRangeError) as caught:
                store.incr("a", **bounds)
            assert message in str(caught.value)
            assert "765" not in str(caught.value)
