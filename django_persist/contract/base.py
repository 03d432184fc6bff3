"""The fixtures that all pages of the contract share: stores over the driver, and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pytest

from ..drivers.base import Driver
from ..exceptions import PersistError
from ..store import Store

MakeStore: TypeAlias = Callable[..., Store]
Elapse: TypeAlias = Callable[[float], None]


def outcome(call: Callable[..., object], *args: Any, **kwargs: Any) -> object:
    """Return what a call returns, or the PersistError that it raises."""
    try:
        return call(*args, **kwargs)
    except PersistError as error:
        return error


class Contract:
    """The fixtures of a page. The class that runs the contract defines `driver`."""

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
        """Return a function that lets seconds pass. Override it to move a clock instead."""
        return time.sleep
