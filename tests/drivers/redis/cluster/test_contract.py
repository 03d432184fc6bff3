"""On a Redis Cluster the driver keeps the whole contract, over many slots."""

from __future__ import annotations

from django_persist.contract import DriverContract


class TestCluster(DriverContract):
    """Asked of the fixture `driver` of this folder."""
