"""The database driver keeps the contract on a Galera cluster with three writers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.contract.base import Elapse
from django_persist.drivers.base import Driver
from tests import conftest

pytestmark = pytest.mark.costly


class TestGalera(DriverContract):
    @pytest.fixture
    def driver(self, spread: Callable[..., Store]) -> Driver:
        """Each thread is connected to the next node."""
        return spread(wsrep_sync_wait=7).driver

    @pytest.fixture
    def elapse(self, driver: Driver, elapse: conftest.Elapse) -> Elapse:
        return partial(elapse, Store(driver))
