"""Several writers on a Galera cluster: races, a node that dies, and what a read may miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.galera.conftest import MakeAlias
from tests.processes import PROCESSES, race
from tests.races.test_many import set_all_to, set_or_remove_all
from tests.races.test_single import KEYS, add_own, count_up, create_each, take_each
from tests.servers.galera import Cluster
from tests.writers import writing

pytestmark = pytest.mark.costly

Spread = Callable[..., Store]


def conflicts(galera: Cluster) -> int:
    """Return how many transactions have lost against one of another node so far."""
    return sum(
        int(count)
        for node in galera.nodes
        for name, count in node.query("SHOW STATUS LIKE 'wsrep_local_%'")
        if name in ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
    )


@pytest.mark.parametrize("sync_wait", [0, 1])
def test_processes_that_race_on_three_nodes_get_no_error(
    sync_wait: int, galera: Cluster, make_alias: MakeAlias, spread: Spread
) -> None:
    # By itself the server runs a single statement that lost once more.
    spread(wsrep_sync_wait=sync_wait, wsrep_retry_autocommit=0)
    store = Store(DatabaseDriver(make_alias(0, wsrep_sync_wait=7)))
    before = conflicts(galera)

    won = race(create_each)
    assert Counter(key for keys in won for key in keys) == Counter(KEYS)
    assert store.get_many(KEYS) == {key: i for i, keys in enumerate(won) for key in keys}

    taken = [value for values in race(take_each) for value in values]
    assert Counter(taken) == Counter(i for i, keys in enumerate(won) for _ in keys)

    sums = [total for totals in race(count_up) for total in totals]
    assert sorted(sums) == [*range(1, PROCESSES * 40 + 1)]

    race(add_own)
    assert sorted(store.get("list")) == [i * 100 + n for i in range(PROCESSES) for n in range(15)]

    assert conflicts(galera) > before


@pytest.mark.parametrize("sync_wait", [0, 1])
def test_set_many_on_three_nodes_is_applied_as_a_whole(
    sync_wait: int, galera: Cluster, make_alias: MakeAlias, spread: Spread
) -> None:
    spread(wsrep_sync_wait=sync_wait, wsrep_retry_autocommit=0)
    store = Store(DatabaseDriver(make_alias(0, wsrep_sync_wait=7)))
    before = conflicts(galera)
    race(set_all_to)
    values = store.get_many([f"all:{k}" for k in range(50)])
    assert len(values) == 50 and len(set(values.values())) == 1
    race(set_or_remove_all)
    values = store.get_many([f"many:{i}" for i in range(300)])
    assert len(values) in (0, 300) and len(set(values.values())) <= 1
    assert conflicts(galera) > before


def test_a_node_that_is_killed_loses_no_acknowledged_write(
    galera: Cluster, make_alias: MakeAlias, spread: Spread
) -> None:
    spread(wsrep_sync_wait=7)
    with writing(processes=6) as writers:
        writers.read(10)
        galera.nodes[2].kill()
        writers.read(10)  # by the same processes, on the other nodes
        galera.nodes[2].start()
        galera.nodes[2].wait_until_synced()
        writers.read(10)
        writers.stop()
    assert any(report.done is not True for report in writers.reports if report.call != "claim")
    for node in range(3):
        writers.assert_kept(Store(DatabaseDriver(make_alias(node, wsrep_sync_wait=7))))


def test_a_read_on_another_node_waits_only_with_wsrep_sync_wait(
    galera: Cluster, make_alias: MakeAlias
) -> None:
    writer, reader, waiting = (
        Store(DatabaseDriver(make_alias(node, wsrep_sync_wait=wait)))
        for node, wait in ((0, 7), (1, 0), (1, 1))
    )
    writer.set("key", "before")
    assert waiting.get("key") == "before"

    def read() -> Any:
        try:
            return waiting.get("key")
        finally:
            connections.close_all()

    admin = galera.nodes[1].connect()
    with ThreadPoolExecutor(1) as pool:
        admin.query("FLUSH TABLES WITH READ LOCK")  # The node applies nothing.
        try:
            writer.set("key", "after")
            assert reader.get("key") == "before"
            later = pool.submit(read)
        finally:
            admin.query("UNLOCK TABLES")
        assert later.result(30) == "after"
    admin.close()


@pytest.mark.parametrize("sync_wait", [0, 1, 2, 3, 7])
def test_a_node_whose_reads_do_not_wait_is_warned_of(sync_wait: int, make_alias: MakeAlias) -> None:
    messages = list(DatabaseDriver(make_alias(0, wsrep_sync_wait=sync_wait)).check_deployment())
    if sync_wait & 1:
        assert messages == []
    else:
        [message] = messages
        assert message.id == "django_persist.W010"
        assert f"wsrep_sync_wait={sync_wait}" in message.msg
        assert "SET SESSION wsrep_sync_wait=1" in str(message.hint)
