"""Timeouts of gevent's, at random moments of calls: no wrong answer, and the next call is right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections

from django_persist import Store, stores
from tests.conftest import REDIS
from tests.extent import LONG
from tests.interruptions.conftest import CONNECTIONS, PASSWORD
from tests.servers.valkey_servers import ValkeyServer

ROUNDS = 3_000 if LONG else 60
GREENLETS = 4
"""Fewer than CONNECTIONS, so that none of them waits in vain for one that is lost."""


def interrupt_calls(greenlets: int = GREENLETS) -> int:
    """Run `greenlets` with the stores of this process; return how many calls were interrupted."""
    given: dict[str, Any] = {
        "databases": {alias: connections[alias].settings_dict for alias in connections},
        "caches": settings.CACHES,
        "persist": settings.PERSIST,
        "rounds": ROUNDS,
        "greenlets": greenlets,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.interruptions.greenlets"],
        input=json.dumps(given, default=str),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
def test_greenlets_on_a_database(database: str, open_store: Callable[..., Store]) -> None:
    store = open_store(database)
    # mysqlclient doesn't let other greenlets run, nor a timeout interrupt what it waits for.
    assert interrupt_calls() or database == "mariadb"
    assert sorted(store.keys("count")) == [f"count greenlet {i}" for i in range(GREENLETS)]
    assert set(store.get_many(store.keys("count")).values()) == {ROUNDS}


@pytest.mark.parametrize(
    "redis_alias", ["single", pytest.param("cluster", marks=pytest.mark.costly)], indirect=True
)
def test_greenlets_on_redis(redis_alias: str, guarded: ValkeyServer, settings: Any) -> None:
    assert GREENLETS < CONNECTIONS
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": redis_alias}}}
    store = stores["default"]
    store.clear()
    assert interrupt_calls()
    assert set(store.get_many(store.keys("count")).values()) == {ROUNDS}
    assert redis.Redis(port=guarded.port, password=PASSWORD, db=0).dbsize() == 0
