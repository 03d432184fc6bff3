"""Fixtures for the tests of commands."""

from __future__ import annotations

import pytest

from tests import servers


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    return servers.free_port()
