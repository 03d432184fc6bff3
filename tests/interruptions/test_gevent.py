"""Timeouts of gevent's, at random moments of calls: no wrong answer, and the next call is right."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections

from django_persist import stores
from tests.conftest import DATABASES, REDIS, OpenStore
from tests.extent import LONG
from tests.interruptions.conftest import CONNECTIONS, PASSWORD, CountInterruptions
from tests.servers.valkey_servers import ValkeyServer

ROUNDS = 3_000 if LONG else 60
GREENLETS = 4
"""Fewer than CONNECTIONS, so that none of them waits in vain for one that is lost."""


def interrupt_calls(rounds: int = ROUNDS) -> int:
    """Run greenlets with the stores of this process; return how many calls were interrupted."""
    given: dict[str, Any] = {
        "databases": {alias: connections[alias].settings_dict for alias in connections},
        "caches": settings.CACHES,
        "persist": settings.PERSIST,
        "rounds": rounds,
        "greenlets": GREENLETS,
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


@pytest.mark.parametrize("server", [*DATABASES, "memory"])
def test_greenlets(
    server: str, open_store: OpenStore, count_interruptions: CountInterruptions
) -> None:
    """A timeout can come where other greenlets run: wherever psycopg waits, and in `update`.

    mysqlclient and sqlite3 let nobody else run while they wait. Nor does a store in memory, which
    each process has for itself.
    """
    store = open_store(server)
    rounds = ROUNDS * {"postgresql": 1, "mariadb": 2, "mysql": 2}.get(server, 4)
    interrupted = interrupt_calls(rounds)
    assert interrupted
    if server != "memory":
        assert sorted(store.keys("count")) == [f"count greenlet {i}" for i in range(GREENLETS)]
        assert set(store.get_many(store.keys("count")).values()) == {rounds}
    count_interruptions("a timeout of gevent", server, interrupted)


@pytest.mark.parametrize(
    "redis_alias",
    ["single", *(pytest.param(name, marks=pytest.mark.costly) for name in ("sentinel", "cluster"))],
    indirect=True,
)
def test_greenlets_on_redis(
    redis_alias: str,
    guarded: ValkeyServer,
    settings: Any,
    request: pytest.FixtureRequest,
    count_interruptions: CountInterruptions,
) -> None:
    assert GREENLETS < CONNECTIONS
    settings.PERSIST = {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": redis_alias}}}
    store = stores["default"]
    store.clear()
    interrupted = interrupt_calls()
    assert interrupted
    assert set(store.get_many(store.keys("count")).values()) == {ROUNDS}
    assert redis.Redis(port=guarded.port, password=PASSWORD, db=0).dbsize() == 0
    count_interruptions("a timeout of gevent", request.node.callspec.id, interrupted)
