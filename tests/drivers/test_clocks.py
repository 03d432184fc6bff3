"""By which clock an entry ends: the application's, or that of a Redis server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import time_machine

from django_persist.exceptions import InvalidExpiryError
from tests.conftest import DATABASES

if TYPE_CHECKING:
    from tests.conftest import OpenStore

HOUR = timedelta(hours=1)
OUR_CLOCK = (*DATABASES, "memory")


@pytest.mark.parametrize("server", OUR_CLOCK)
def test_an_entry_ends_at_its_moment_to_the_microsecond(open_store: OpenStore, server: str) -> None:
    store = open_store(server)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        store.set("a", 1, expires=0.5)
        clock.shift(timedelta(microseconds=499_999))
        assert store.get("a") == 1
        assert "a" in store
        assert store.count() == 1
        clock.shift(timedelta(microseconds=1))
        assert store.get("a") is None
        assert "a" not in store
        assert store.count() == 0


@pytest.mark.parametrize("server", ["valkey", "redis"])
def test_a_server_with_its_own_clock_ends_an_entry_by_that(
    open_store: OpenStore, server: str
) -> None:
    store = open_store(server)
    behind = datetime.now(UTC) - timedelta(days=1)
    with time_machine.travel(behind, tick=True):
        store.set("a", 1, expires=60)
        assert store.get("a") == 1
        with pytest.raises(InvalidExpiryError):
            store.set("a", 2, expires=behind + HOUR)
        assert store.get("a") == 1
