"""Fixtures for the recipes: a clock to advance, and a store that can't be reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import time_machine

from django_persist import persist
from tests import clock, servers

Advance: TypeAlias = Callable[[float], None]


@pytest.fixture
def advance() -> Iterator[Advance]:
    """A function that lets seconds pass for the default store, without waiting."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda seconds: clock.elapse(persist, seconds, traveller)


@pytest.fixture
def unreachable_store(settings: Any) -> None:
    """Make the default store one that can't be reached."""
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    settings.CACHES = {"gone": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.redis.RedisDriver",
            "OPTIONS": {"cache": "gone"},
        }
    }
