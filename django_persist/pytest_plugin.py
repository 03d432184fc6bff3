"""Fixtures for pytest, with pytest-django: `pytest_plugins = ["django_persist.pytest_plugin"]`."""

from __future__ import annotations

from typing import Any

import pytest

from .conf import DEFAULT_ALIAS
from .handler import stores
from .store import Store
from .testing import PersistRequestFactory, persist_in_memory


# The `settings` fixture of pytest-django undoes this change and those of the test in the right
# order.
@pytest.fixture
def persist(settings: Any) -> Store:
    """Replace each store of PERSIST by an empty store in memory. Returns the store "default"."""
    settings.PERSIST = persist_in_memory()
    return stores[DEFAULT_ALIAS]


@pytest.fixture
def persist_rf(persist: Store) -> PersistRequestFactory:
    """Return a RequestFactory whose requests have `persist`, the store of the fixture above."""
    return PersistRequestFactory()
