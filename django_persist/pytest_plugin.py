"""A fixture for pytest with pytest-django: `pytest_plugins = ["django_persist.pytest_plugin"]`."""

from __future__ import annotations

from typing import Any

import pytest

from .conf import DEFAULT_ALIAS
from .handler import stores
from .store import Store
from .testing import persist_in_memory


# pytest-django's `settings` undoes all changes in their order, also those that a test makes itself.
@pytest.fixture
def persist(settings: Any) -> Store:
    """Put each store of PERSIST into memory, empty, for this test; hand out "default"."""
    settings.PERSIST = persist_in_memory()
    return stores[DEFAULT_ALIAS]
