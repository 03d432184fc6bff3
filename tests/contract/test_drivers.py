"""Every driver of ours keeps the contract, on every server."""

from __future__ import annotations

from functools import partial

import pytest

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.contract.base import Elapse
from django_persist.drivers.base import Driver
from tests import conftest

pytestmark = pytest.mark.usefixtures("way")


class TestDriver(DriverContract):
    @pytest.fixture
    def driver(self, open_store: conftest.OpenStore, server: str) -> Driver:
        return open_store(server).driver

    @pytest.fixture
    def elapse(self, driver: Driver, elapse: conftest.Elapse) -> Elapse:
        return partial(elapse, Store(driver))
