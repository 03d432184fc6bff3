"""RedisDriver, interrupted by alarms while it connects and while it waits for replies.

Nothing is ever answered from another database, or with another call's reply; no connection is lost
for good; and the call after an interruption is right.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import DuplicateKeyError
from tests.extent import LONG
from tests.interruptions.alarms import INTERRUPTED, alarms, at_random
from tests.interruptions.conftest import CONNECTIONS, PASSWORD, CountInterruptions
from tests.servers.valkey_servers import ValkeyServer

ROUNDS = 20_000 if LONG else 400
INTERRUPTIONS = ROUNDS // 10
"""How many of the rounds must end in an interruption."""

MANY = {f"many {{{i % 3}}} {i}": i for i in range(300)}
"""Enough that packing them takes a while. On a cluster, each third of them is all or nothing."""


def check(store: Store, number: int, sums: list[int]) -> None:
    """Fail unless each call says what is so, on whatever connection it gets."""
    assert store.get("there") == "value"
    assert "missing" not in store
    with pytest.raises(DuplicateKeyError):
        store.create("there", number)
    total = store.incr("counter")
    assert total > max(sums, default=0)
    sums.append(total)


def created(store: Store) -> str:
    try:
        store.create("there", "another")
    except DuplicateKeyError:
        return "duplicate"
    return "created"


CALLS: list[Callable[[Store], Any]] = [
    lambda store: store.get("there"),
    lambda store: "missing" in store,
    lambda store: store.touch("there", None),
    lambda store: store.get_many(["there", "missing"]),
    lambda store: store.get_item("there").value,  # type: ignore[union-attr]
    lambda store: store.set("there", "value"),
    lambda store: store.remove("missing"),
    created,
    lambda store: store.set_many(MANY),
    lambda store: store.remove_many(["missing", *MANY]) % (len(MANY) // 3) == 0,
    lambda store: set(store.keys("the")),
]
RESULTS = [
    *("value", False, True, {"there": "value"}, "value", None, False, "duplicate"),
    *(None, True, {"there"}),
]


def typical(store: Store) -> float:
    """Return how long a call takes that has to connect first."""
    times = []
    for _ in range(5):
        store.driver.close()
        started = time.perf_counter()
        store.get("there")
        times.append(time.perf_counter() - started)
    return sorted(times)[2]


def test_a_call_that_is_interrupted_while_it_connects_hurts_no_other(
    redis_alias: str,
    guarded: ValkeyServer,
    request: pytest.FixtureRequest,
    count_interruptions: CountInterruptions,
) -> None:
    store = Store(RedisDriver(cache=redis_alias))
    store.clear()
    store.set("there", "value")
    moment, sums, interruptions = typical(store), list[int](), 0
    with alarms() as interrupted:
        # On a busy machine few of the alarms come while a call runs.
        for number in range(10 * ROUNDS):
            if number >= ROUNDS and interruptions >= INTERRUPTIONS:
                break
            if number % 3:
                store.driver.close()
            which = number % len(CALLS)
            result = interrupted(lambda which=which: CALLS[which](store), at_random(moment))
            if result is INTERRUPTED:
                interruptions += 1
            else:
                assert result == RESULTS[which]
            check(store, number, sums)
    assert interruptions >= INTERRUPTIONS
    assert {*store.keys()} - {*MANY} == {"counter", "there"}
    assert store.get("counter") == sums[-1]
    assert redis.Redis(port=guarded.port, password=PASSWORD, db=0).dbsize() == 0
    # No connection is lost for good: as many calls at once as there may be connections.
    nodes = store.driver.servers.primaries()  # type: ignore[attr-defined]
    for node in nodes:
        taken = [node.pool.get_connection() for _ in range(CONNECTIONS)]
        for connection in taken:
            node.pool.release(connection)
    count_interruptions("an alarm", request.node.callspec.id, interruptions)


def send(servers: list[ValkeyServer], signum: signal.Signals) -> None:
    for server in servers:
        assert server.process is not None
        server.process.send_signal(signum)


def test_a_call_that_is_interrupted_on_a_stopped_server_hurts_no_other(
    guarded: ValkeyServer, redis_alias: str, request: Any, count_interruptions: CountInterruptions
) -> None:
    store = Store(RedisDriver(cache=redis_alias))
    store.clear()
    store.set("there", "value")
    servers = [guarded]
    if len(store.driver.servers.primaries()) > 1:  # type: ignore[attr-defined]
        servers = request.getfixturevalue("shared_cluster").primaries
    sums = list[int]()
    with alarms() as interrupted:
        for number in range(ROUNDS // 20):
            if number % 2:
                store.driver.close()
            send(servers, signal.SIGSTOP)
            try:
                which = number % len(CALLS)
                call = CALLS[which]
                result = interrupted(lambda call=call: call(store), 0.01)
                assert result is INTERRUPTED
            finally:
                send(servers, signal.SIGCONT)
            check(store, number, sums)
    count_interruptions("an alarm", request.node.callspec.id, ROUNDS // 20)
