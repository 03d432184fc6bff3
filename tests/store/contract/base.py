"""The stores that the tests call: one in memory, and two whose drivers must not be called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import uuid4

import pytest

from django_persist import Store
from django_persist.contract.base import MakeStore
from django_persist.drivers.base import Driver
from django_persist.drivers.memory import MemoryDriver


def _failing(name: str) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"The driver's {name} was called.")

    return fail


METHODS: Final = [name for name, member in vars(Driver).items() if callable(member)]
WRITES: Final = [
    *("create", "set", "touch", "incr", "replace", "set_many", "create_many"),
    *("remove", "remove_if", "remove_many", "purge"),
]

UncalledDriver: Final[Any] = type(
    "UncalledDriver", (Driver,), {name: _failing(name) for name in METHODS}
)
"""A driver that fails the test at any call."""

UnwrittenDriver: Final[Any] = type(
    "UnwrittenDriver", (MemoryDriver,), {name: _failing(name) for name in WRITES}
)
"""A memory driver that fails the test at a call that could change an entry."""


class Contract:
    """The fixtures of a page."""

    @pytest.fixture
    def driver(self) -> MemoryDriver:
        """Return an empty driver, in memory."""
        return MemoryDriver(name=str(uuid4()))

    @pytest.fixture
    def make_store(self, driver: MemoryDriver) -> MakeStore:
        """Return a function that makes a store over the driver, with the settings given."""
        return partial(Store, driver)

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Store:
        """Return a store in memory, without any settings."""
        return make_store()

    @pytest.fixture
    def unwritten(self, driver: MemoryDriver) -> Store:
        """Return a store with the entries of `store`. The test fails where it writes."""
        return Store(UnwrittenDriver(name=driver.name))

    @pytest.fixture
    def make_uncalled(self) -> MakeStore:
        """Return a function that makes a store like `uncalled`, with the settings given."""
        return partial(Store, UncalledDriver())

    @pytest.fixture
    def uncalled(self, make_uncalled: MakeStore) -> Store:
        """Return a store that refuses by itself. The test fails where it calls its driver."""
        return make_uncalled()
