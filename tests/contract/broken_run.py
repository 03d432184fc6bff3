"""The contract, run on every broken driver: by test_bites.py, which looks for what it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from django_persist import Store, atomic
from django_persist.contract import DriverContract
from django_persist.drivers.base import Driver
from django_persist.drivers.memory import MemoryDriver
from tests.broken import FOUND_BY_THE_CONTRACT


class TestBrokenDriver(DriverContract):
    @pytest.fixture(params=[MemoryDriver, *FOUND_BY_THE_CONTRACT], ids=lambda cls: cls.__name__)
    def driver(self, request: pytest.FixtureRequest) -> Driver:
        driver: Driver = request.param(name=str(uuid4()))
        return driver

    @pytest.fixture(autouse=True)
    def tries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a call that a broken driver has losing for ever give up soon."""
        monkeypatch.setattr(atomic, "TRIES", 20)

    @pytest.fixture
    def elapse(self, driver: Driver, elapse: Any) -> Callable[[float], None]:
        return lambda seconds: elapse(Store(driver), seconds)
