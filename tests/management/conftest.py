"""What the tests of commands share."""

from __future__ import annotations

import pytest

from tests import servers


@pytest.fixture
def free_port() -> int:
    """A port at which nobody listens."""
    return servers.free_port()
