"""Runs the test that must find each broken driver. test_bites.py runs this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.drivers.base import Driver
from django_persist.drivers.memory import MemoryDriver
from tests.broken import FOUND_BY_THE_CONTRACT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the drivers that it must find, and on the one that works."""
    name = metafunc.function.__name__
    broken = [cls for cls, test in FOUND_BY_THE_CONTRACT.items() if test == name]
    if "cls" in metafunc.fixturenames:
        drivers = [MemoryDriver, *broken] if broken else []
        metafunc.parametrize("cls", drivers, ids=lambda cls: cls.__name__)


class TestBrokenDriver(DriverContract):
    @pytest.fixture
    def driver(self, cls: type[MemoryDriver]) -> Driver:
        return cls(name=str(uuid4()))

    @pytest.fixture(autouse=True)
    def tries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give up soon where a broken driver lets a call lose again and again."""
        monkeypatch.setattr("django_persist.store.TRIES", 5)

    @pytest.fixture
    def elapse(self, driver: Driver, elapse: Any) -> Callable[[float], None]:
        return lambda seconds: elapse(Store(driver), seconds)
