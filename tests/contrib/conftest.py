"""Fixtures for contrib: a clock to advance, ATOMIC_REQUESTS, and views to send requests to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import time_machine
from django.db import connections
from django.urls import path

from django_persist import persist
from tests import clock, servers
from tests.conftest import REDIS

Advance: TypeAlias = Callable[[float], None]
Serve: TypeAlias = Callable[..., None]


@pytest.fixture
def advance() -> Iterator[Advance]:
    """A function that lets seconds pass for the default store, without waiting."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda seconds: clock.elapse(persist, seconds, traveller)


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that sets ATOMIC_REQUESTS for an alias of DATABASES."""
    return lambda alias: monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)


@pytest.fixture
def serve(settings: Any) -> Serve:
    """A function that makes these views the whole site: one at /, the others at their names."""

    def serve_(first: Any, **others: Any) -> None:
        named = (path(name, view) for name, view in others.items())
        settings.ROOT_URLCONF = (path("", first), *named)

    return serve_


@pytest.fixture
def unreachable_store(settings: Any) -> None:
    """Make the default store one that can't be reached."""
    use_redis(settings, f"redis://127.0.0.1:{servers.free_port()}/0")


def use_redis(settings: Any, url: str) -> None:
    """Make the default store one on a Redis server."""
    settings.CACHES = {"other": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "other"}}}
