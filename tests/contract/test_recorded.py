"""A store works in the same way while the toolbar panel records its calls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from unittest import mock

import pytest

from django_persist import Store, panels
from django_persist.contract import DriverContract
from django_persist.contract.base import Elapse
from django_persist.drivers.memory import MemoryDriver
from django_persist.panels import PersistPanel
from tests import conftest
from tests.panels.conftest import untouched_store
from tests.store.contract import StoreContract

# The panel wraps the methods of Store and hands their arguments on as they are.
pytestmark = pytest.mark.first_parameters_only


class Recorded:
    """The fixtures of a store whose calls are recorded."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def wrapped() -> Iterator[None]:
        # Finding where a call came from takes a millisecond. tests/panels tests it.
        with untouched_store(), mock.patch.object(panels, "_trace", list):
            PersistPanel.ready()
            yield

    @pytest.fixture(autouse=True)
    def recording(self) -> Iterator[None]:
        panel = PersistPanel(None, lambda request: None)
        panel.enable_instrumentation()
        yield
        panel.disable_instrumentation()


class TestRecordedDriver(Recorded, DriverContract):
    @pytest.fixture
    def driver(self, open_store: conftest.OpenStore) -> MemoryDriver:
        driver = open_store("memory").driver
        assert isinstance(driver, MemoryDriver)
        return driver

    @pytest.fixture
    def elapse(self, driver: MemoryDriver, elapse: conftest.Elapse) -> Elapse:
        return partial(elapse, Store(driver))


class TestRecordedStore(Recorded, StoreContract):
    pass
