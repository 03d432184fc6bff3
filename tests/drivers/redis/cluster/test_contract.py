"""The driver keeps the whole contract on a Redis Cluster, with keys in many slots."""

from __future__ import annotations

import pytest

from django_persist.contract import DriverContract

pytestmark = pytest.mark.costly


class TestCluster(DriverContract):
    """Runs on this folder's fixture `driver`."""
