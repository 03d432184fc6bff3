"""Calls in several steps that are cut off: `maybe_applied` says whether a step was applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from django_persist import Store
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import StoreUnavailableError


class Failing(MemoryDriver):
    """A driver whose server is lost after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__("failing")
        self.steps = steps

    def step(self) -> None:
        if self.steps == 0:
            raise StoreUnavailableError("It was cut off.")
        self.steps -= 1

    def remove_many(self, keys: Sequence[str]) -> int:
        self.step()
        return super().remove_many(keys)

    def purge(self, batch_size: int) -> Iterator[int]:
        for removed in (batch_size, 0, batch_size):
            self.step()
            yield removed


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_purge(steps: int) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        Store(Failing(steps)).purge(5)
    assert caught.value.maybe_applied is (steps > 0)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_clear(steps: int) -> None:
    store = Store(Failing(-1))
    store.clear()
    store.set_many({f"k{i}": i for i in range(2_500)})
    with pytest.raises(StoreUnavailableError) as caught:
        Store(Failing(steps)).clear()
    assert caught.value.maybe_applied is (steps > 0)
    assert store.count() == 2_500 - 1_000 * steps
