"""Valkey servers, Sentinels and clusters that a test has for itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import Valkey, free_port

REPLICATES_AT_ONCE = ("--repl-diskless-sync", "no", "--repl-diskless-load", "swapdb")
"""Options for a primary and its replica that save seconds.

By default a step of the first copy waits for a timer that goes off once a second.
"""

PATIENCE = 20.0
"""How many seconds a server may take to get ready."""


def wait_for(ready: Callable[[], Any], what: str) -> None:
    """Wait until `ready()` is true. An error of the connection means: not yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(redis.RedisError, OSError):
            if ready():
                return
        time.sleep(0.01)
    raise TimeoutError(f"{what} was not ready within {PATIENCE:.0f} seconds.")


class WithClient(Valkey):
    """A server with a client for the test."""

    @cached_property
    def client(self) -> redis.Redis:
        """A client of the test's own, beside the driver's.

        Cached, because redis-py reads its own package's metadata for every client that it makes.
        Without retries, because redis-py's would wait seconds for a server that is down.
        """
        return redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))

    def run(self, *command: Any) -> Any:
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        super().stop()
        self.client.close()

    def kill(self) -> None:
        super().kill()
        self.client.close()


class ValkeyServer(WithClient):
    """A Valkey server that a test may stop, kill and reconfigure."""

    @property
    def bus(self) -> str:
        """The port on which the other nodes of its cluster reach it."""
        return self.options[self.options.index("--cluster-port") + 1]

    @property
    def node_id(self) -> Any:
        return self.run("CLUSTER MYID")

    def run_as(self, password: str, *command: Any) -> Any:
        client = redis.Redis(port=self.port, password=password)
        return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        self.start_only()
        wait_for(self.client.ping, f"Valkey on port {self.port}")

    def start_only(self) -> None:
        """Start it without waiting until it has loaded its data."""
        super().start()

    def restart(self) -> None:
        self.stop()
        self.start()


def start(*options: str) -> ValkeyServer:
    server = ValkeyServer(*options)
    server.start()
    return server


class ValkeySentinel(WithClient):
    """A Sentinel that watches one primary, which it calls "main"."""

    def __init__(self, primary: ValkeyServer) -> None:
        super().__init__()
        self.config = self.folder / "sentinel.conf"
        self.config.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
        )

    def command(self) -> list[str]:
        return [super().command()[0], str(self.config), "--sentinel"]

    def start(self) -> None:
        super().start()
        # In milliseconds. With its default periods a failover takes ten seconds.
        self.run("SENTINEL DEBUG", "INFO-PERIOD", 100, "PUBLISH-PERIOD", 100)


class ValkeyCluster:
    """Primaries that share the slots evenly, and their replicas: one for each primary in turn."""

    def __init__(self, primaries: list[ValkeyServer], replicas: list[ValkeyServer]) -> None:
        self.primaries = primaries
        self.replicas = replicas

    @property
    def servers(self) -> list[ValkeyServer]:
        return self.primaries + self.replicas

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.primaries]

    def owner(self, slot: int) -> ValkeyServer:
        """Return the server that has the slot, according to the first server that runs."""
        slots = next(server for server in self.servers if server.process).run("CLUSTER SLOTS")
        port = next(port for first, last, (_, port, *_), *_ in slots if first <= slot <= last)
        return next(server for server in self.servers if server.port == port)

    def move(self, slot: int, target: ValkeyServer, pause: float = 0) -> None:
        """Move a slot to another server, key by key, as valkey-cli does it."""
        source = self.owner(slot)
        target.run("CLUSTER SETSLOT", slot, "IMPORTING", source.node_id)
        source.run("CLUSTER SETSLOT", slot, "MIGRATING", target.node_id)
        while keys := source.run("CLUSTER GETKEYSINSLOT", slot, 10):
            source.run("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(pause)
        for server in (target, source, *self.servers):
            server.run("CLUSTER SETSLOT", slot, "NODE", target.node_id)

    def add(self) -> ValkeyServer:
        """Start another primary, which has no slots at first."""
        server = start_node(CALM)
        self.servers[0].run("CLUSTER MEET", "127.0.0.1", server.port, server.bus)
        self.primaries.append(server)
        for each in self.servers:
            knows = partial(_knows, each, len(self.servers), len(self.primaries) - 1)
            wait_for(knows, f"The cluster, on port {each.port}")
        return server

    def remove(self, server: ValkeyServer) -> None:
        """Remove a primary that has no slots, and end it."""
        self.primaries.remove(server)
        for each in self.servers:
            each.run("CLUSTER FORGET", server.node_id)
        server.kill()

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


CALM = 5000
"""A node timeout in milliseconds that is long enough for a node on a slow machine to answer in."""


def start_node(timeout: int) -> ValkeyServer:
    options = ["--cluster-enabled", "yes", "--enable-debug-command", "local"]
    # If a node is killed, the others must go on.
    options += ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", str(timeout)]
    # A node that has given up all its slots must not become a replica by itself.
    options += ["--cluster-allow-replica-migration", "no", *REPLICATES_AT_ONCE]
    server = ValkeyServer(*options)
    # free_port() may return the same port twice.
    bus = next(port for port in iter(free_port, None) if port != server.port)
    server.options += ("--cluster-port", str(bus))
    server.start()
    return server


def start_cluster(count: int = 3, replicas: int = 0, timeout: int = CALM) -> ValkeyCluster:
    servers = [start_node(timeout) for _ in range(count + replicas)]
    cluster = ValkeyCluster(servers[:count], servers[count:])
    for i, server in enumerate(cluster.primaries):
        first, last = i * 16384 // count, (i + 1) * 16384 // count - 1
        server.run("CLUSTER ADDSLOTSRANGE", first, last)
        server.run("CLUSTER SET-CONFIG-EPOCH", i + 1)
    for server in servers[1:]:
        servers[0].run("CLUSTER MEET", "127.0.0.1", server.port, server.bus)
    for server in servers:
        knows = partial(_knows, server, len(servers), count)
        wait_for(knows, f"The cluster, on port {server.port}")
    for i, server in enumerate(cluster.replicas):
        follow(server, cluster.primaries[i % count])
    return cluster


def start_replica(port: int) -> ValkeyServer:
    """Start a replica of the server on a port, and wait until it follows."""
    server = start(*REPLICATES_AT_ONCE)
    # As a command, because a server that is started as a replica waits a second to connect.
    server.run("REPLICAOF", "127.0.0.1", port)
    wait_for(lambda: server.client.info("replication")["master_link_status"] == "up", "The replica")
    return server


def catch_up(replica: ValkeyServer, primary: ValkeyServer) -> None:
    """Wait until the replica has all that has been written on the primary."""
    written = primary.client.info("replication")["master_repl_offset"]
    wait_for(
        lambda: replica.client.info("replication")["slave_repl_offset"] >= written,
        f"The replica on port {replica.port}",
    )


def follow(replica: ValkeyServer, primary: ValkeyServer) -> None:
    """Make a node the replica of another, and wait until it has copied the entries."""
    replica.run("CLUSTER REPLICATE", primary.node_id)
    wait_for(
        lambda: replica.client.info("replication").get("master_link_status") == "up",
        f"The replica on port {replica.port}",
    )


def _knows(server: ValkeyServer, nodes: int, primaries: int) -> bool:
    info = server.run("CLUSTER INFO")
    return bool(
        info["cluster_state"] == "ok"
        and int(info["cluster_known_nodes"]) == nodes
        and int(info["cluster_slots_assigned"]) == 16384
        and int(info["cluster_size"]) == primaries
    )
