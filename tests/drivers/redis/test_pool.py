"""Connections between calls: kept, and used again only if they are ready for a command."""

from __future__ import annotations

import os

import pytest
import redis

from django_persist.drivers.redis import RedisDriver
from tests.servers.valkey_servers import ValkeyServer


def other_connections(client: redis.Redis) -> set[str]:
    """Return the ids of the server's connections, without the client's own."""
    own = str(client.client_id())
    return {each["id"] for each in client.client_list() if each["id"] != own}


def test_one_connection_serves_successive_calls(server: ValkeyServer, driver: RedisDriver) -> None:
    client = server.client
    driver.set("k", b"0", None)
    before = other_connections(client)
    for number in range(5):
        driver.set("k", b"%d" % number, None)
    assert other_connections(client) == before


def test_a_connection_that_the_server_closed_is_replaced(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    client = server.client
    assert driver.incr("k", 1, None) == 1
    before = other_connections(client)
    for each in before:
        client.client_kill_filter(_id=each)
    assert driver.incr("k", 1, None) == 2
    assert other_connections(client)
    assert other_connections(client).isdisjoint(before)


def test_a_connection_with_an_unread_reply_is_not_used(driver: RedisDriver) -> None:
    driver.set("k", b"1", None)
    pool = driver.servers.primaries()[0].pool
    connection = pool.get_connection()
    connection.send_command("PING")
    assert connection.can_read(timeout=10)
    pool.release(connection)
    assert driver.get("k") == b"1"


def test_connections_in_use_at_the_same_time_are_different(
    server: ValkeyServer, driver: RedisDriver
) -> None:
    driver.set("k", b"1", None)
    pool = driver.servers.primaries()[0].pool
    taken = [pool.get_connection() for _ in range(3)]
    assert len(set(map(id, taken))) == 3
    for connection in taken:
        pool.release(connection)
    again = [pool.get_connection() for _ in range(3)]
    assert set(map(id, again)) == set(map(id, taken))
    for connection in again:
        pool.release(connection)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(driver: RedisDriver) -> None:
    driver.set("parent", b"1", None)
    pool = driver.servers.primaries()[0].pool
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            for _ in range(3):
                driver.incr("child", 1, None)
            connection = pool.get_connection()
            os.write(writer, b"%d %d" % (connection.pid == os.getpid(), connection.pid))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"1 %d" % child
    os.close(reader)
    # The child has closed only its own copy of the parent's connection.
    assert driver.get("parent") == b"1"
    assert driver.get("child") == b"3"
    assert pool.get_connection().pid == os.getpid()
