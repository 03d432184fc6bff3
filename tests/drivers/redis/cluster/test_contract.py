"""The driver keeps the whole contract on a Redis Cluster, with keys in many slots."""

from __future__ import annotations

from django_persist.contract import DriverContract


class TestCluster(DriverContract):
    """Runs on this folder's fixture `driver`."""
