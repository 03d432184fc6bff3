"""What incr refuses by itself, and how it goes on where a driver could not count."""

from __future__ import annotations

from typing import Any

import pytest

from django_persist import Store
from django_persist.contract.counters import LEAST, MOST
from django_persist.exceptions import CounterRangeError
from tests.store.contract.base import Contract


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
