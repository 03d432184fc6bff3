"""A store works in the same way while its calls are traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.contract.base import Elapse
from django_persist.drivers.memory import MemoryDriver
from django_persist.tracing import Call, add_tracer, remove_tracer
from tests import conftest
from tests.store.contract import StoreContract

# The trace hands the arguments of a call on as they are.
pytestmark = pytest.mark.first_parameters_only


@contextmanager
def look_at_all(call: Call) -> Iterator[None]:
    before = (call.alias, call.keys, call.template, call.is_listing)
    yield
    assert (*before, call.outcome, call.error) is not None


class Traced:
    """The fixtures of a store whose calls are traced."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def traced() -> Iterator[None]:
        add_tracer(look_at_all)
        yield
        remove_tracer(look_at_all)


class TestTracedDriver(Traced, DriverContract):
    @pytest.fixture
    def driver(self, open_store: conftest.OpenStore) -> MemoryDriver:
        driver = open_store("memory").driver
        assert isinstance(driver, MemoryDriver)
        return driver

    @pytest.fixture
    def elapse(self, driver: MemoryDriver, elapse: conftest.Elapse) -> Elapse:
        return partial(elapse, Store(driver))


class TestTracedStore(Traced, StoreContract):
    pass
