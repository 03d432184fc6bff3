"""What the pages of the contract have in common: stores over the driver, and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import pytest

from ..drivers.base import Driver
from ..store import Store

MakeStore: TypeAlias = Callable[..., Store]
Elapse: TypeAlias = Callable[[float], None]


class Contract:
    """The fixtures of a page; `driver` is for whoever runs the contract to define."""

    @pytest.fixture
    def make_store(self, driver: Driver) -> MakeStore:
        """Return a function that makes a store over the driver, with the settings given."""
        return partial(Store, driver)

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Store:
        """Return a store over the driver, without any settings."""
        return make_store()

    @pytest.fixture
    def elapse(self) -> Elapse:
        """Return a function that lets seconds pass: where a clock can be moved, override it."""
        return time.sleep
