"""A PersistCache over each store, and time that passes for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import time_machine
from django.core.cache import caches

from django_persist import stores
from django_persist.cache import PersistCache
from tests import clock
from tests.conftest import OpenStore

BACKEND = "django_persist.cache.PersistCache"

MakeCache: TypeAlias = Callable[..., PersistCache]
Elapse: TypeAlias = Callable[[float], None]


@pytest.fixture
def make_cache(settings: Any) -> MakeCache:
    """Return a function that adds an alias to CACHES, over the default store, and returns it."""

    def make(alias: str = "state", **config: Any) -> PersistCache:
        config = {"BACKEND": BACKEND, "LOCATION": "default", **config}
        settings.CACHES = {**settings.CACHES, alias: config}
        cache = caches[alias]
        assert isinstance(cache, PersistCache)
        return cache

    return make


@pytest.fixture
def cache(server: str, open_store: OpenStore, make_cache: MakeCache) -> PersistCache:
    """A cache over the store of each server in turn."""
    open_store(server)
    return make_cache()


@pytest.fixture
def memory_cache(open_store: OpenStore, make_cache: MakeCache) -> PersistCache:
    """A cache over a store in memory, for what depends on no driver."""
    open_store("memory")
    return make_cache()


@pytest.fixture
def elapse() -> Iterator[Elapse]:
    """Return a function that lets seconds pass for the default store, without waiting."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda seconds: clock.elapse(stores["default"], seconds, traveller)
