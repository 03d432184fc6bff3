"""A store keeps its contract while the panel records its calls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.contract.base import Elapse
from django_persist.drivers.base import Driver
from django_persist.panels import PersistPanel
from tests import conftest
from tests.panels.conftest import untouched_store


class TestRecorded(DriverContract):
    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def wrapped() -> Iterator[None]:
        with untouched_store():
            PersistPanel.ready()
            yield

    @pytest.fixture
    def driver(self, open_store: conftest.OpenStore) -> Iterator[Driver]:
        panel = PersistPanel(None, lambda request: None)
        panel.enable_instrumentation()
        yield open_store("memory").driver
        panel.disable_instrumentation()

    @pytest.fixture
    def elapse(self, driver: Driver, elapse: conftest.Elapse) -> Elapse:
        return partial(elapse, Store(driver))
