"""A store keeps every promise that no driver can break."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from django_persist.drivers.base import Driver
from tests.store.contract import StoreContract
from tests.store.contract.base import WRITES, UncalledDriver, UnwrittenDriver


class TestStore(StoreContract):
    """Run once, over the memory driver and over drivers that must not be called."""


@pytest.mark.parametrize(
    ("driver", "names"),
    [
        (UncalledDriver(), [name for name in dir(Driver) if not name.startswith("_")]),
        (UnwrittenDriver(name=str(uuid4())), WRITES),
    ],
    ids=["uncalled", "unwritten"],
)
def test_a_driver_that_must_not_be_called_fails_the_test(driver: Any, names: list[str]) -> None:
    for name in names:
        if not name.startswith("supports_"):
            with pytest.raises(AssertionError, match=f"The driver's {name} was called"):
                getattr(driver, name)()
