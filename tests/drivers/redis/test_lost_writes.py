"""What a replica that is promoted lacks, and the setting that refuses such writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.conftest import MakeDriver
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import (
    ValkeyServer,
    catch_up,
    start_replica,
    wait_for,
)


@pytest.fixture
def link(primary: ValkeyServer) -> Iterator[Proxy]:
    """The network between the primary and its replica."""
    proxy = Proxy(primary.port)
    yield proxy
    proxy.close()


@pytest.fixture
def replica(link: Proxy) -> Iterator[ValkeyServer]:
    server = start_replica(link.port)
    yield server
    server.kill()


def test_a_promoted_replica_lacks_the_last_acknowledged_writes(
    primary: ValkeyServer, replica: ValkeyServer, link: Proxy, make_driver: MakeDriver
) -> None:
    driver = make_driver(primary.url)
    assert driver.incr("counter", 1, None) == 1
    catch_up(replica, primary)
    with link.failing(Fault.REFUSED):
        link.cut()
        assert driver.incr("counter", 1, None) == 2
        assert driver.create("ticket", b"1", None)
        primary.kill()
    replica.run("REPLICAOF", "NO", "ONE")
    promoted = make_driver(replica.url)
    assert promoted.incr("counter", 1, None) == 2  # a second time
    assert promoted.create("ticket", b"2", None)  # the second winner


def test_a_primary_without_its_replica_refuses_what_a_promotion_would_lose(
    primary: ValkeyServer, replica: ValkeyServer, link: Proxy, make_driver: MakeDriver
) -> None:
    primary.client.config_set("min-replicas-to-write", 1)
    driver = make_driver(primary.url)
    assert driver.incr("counter", 1, None) == 1
    catch_up(replica, primary)
    with link.failing(Fault.REFUSED):
        link.cut()
        wait_for(lambda: primary.client.info("replication")["connected_slaves"] == 0, "The cut")
        with pytest.raises(StoreUnavailableError, match="NOREPLICAS") as caught:
            driver.incr("counter", 1, None)
        assert not caught.value.maybe_applied
        primary.kill()
    replica.run("REPLICAOF", "NO", "ONE")
    assert make_driver(replica.url).incr("counter", 1, None) == 2
