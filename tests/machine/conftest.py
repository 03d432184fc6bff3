"""Where the machine keeps its entries: each server, and a Redis Cluster of three nodes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
import time_machine

from django_persist import Store, stores
from tests.conftest import BACKENDS, REDIS
from tests.machine.place import DEFAULT_EXPIRES, PREFIX, START, Place
from tests.machine.samples import LIMIT

OpenPlace: TypeAlias = Callable[[dict[str, Any]], Place]


@pytest.fixture
def open_place(
    settings: Any,
    django_db_setup: None,
    django_db_blocker: Any,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[OpenPlace]:
    """Return a function that opens a place, given the BACKEND and OPTIONS of PERSIST."""
    # The machine often asks for another type than is stored, and each time is logged.
    caplog.set_level(logging.ERROR, "django_persist")
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())

        def open_(driver: dict[str, Any]) -> Place:
            def store(**more: Any) -> Store:
                settings.PERSIST = {"default": {**driver, **more}}
                stack.callback(stores["default"].driver.close)
                return stores["default"]

            own = {"PREFIX": PREFIX, "MAX_VALUE_BYTES": LIMIT}
            place = Place(
                beneath=store(),
                lasting=store(**own),
                store=store(**own, DEFAULT_EXPIRES=DEFAULT_EXPIRES.arg),
                clock=None
                if driver["BACKEND"] == REDIS
                else stack.enter_context(time_machine.travel(START, tick=False)),
            )
            stack.callback(place.begin)
            return place

        yield open_


@pytest.fixture(params=[*BACKENDS, pytest.param("cluster", marks=pytest.mark.costly)])
def place(request: pytest.FixtureRequest, settings: Any, open_place: OpenPlace) -> Place:
    """A place on each server, in turn."""
    if request.param != "cluster":
        return open_place(BACKENDS[request.param])
    settings.CACHES = {
        **settings.CACHES,
        "cluster": {
            **settings.CACHES["valkey"],
            "LOCATION": request.getfixturevalue("shared_cluster").urls,
            "OPTIONS": {
                "CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory",
            },
        },
    }
    return open_place({"BACKEND": REDIS, "OPTIONS": {"cache": "cluster"}})
