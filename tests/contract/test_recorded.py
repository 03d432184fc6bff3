"""A store keeps its contract while the panel records its calls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from unittest import mock

import pytest

from django_persist import Store, panels
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
        # Where a call came from takes a millisecond to find, and is tested elsewhere.
        with untouched_store(), mock.patch.object(panels, "_trace", list):
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
