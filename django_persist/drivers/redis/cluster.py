"""How the Redis driver talks to the servers of a Redis Cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from ...backoff import attempts
from ...exceptions import InvalidStoreError, StoreUnavailableError
from .node import Node, Reply, all_checked, checked
from .pool import Pool, location
from .scripts import Command, for_each_key
from .servers import Call, Servers

Address: TypeAlias = tuple[str, int]
Owners: TypeAlias = list[Node | None]

SECONDS = 2.0
"""How long a command follows a cluster that is moving its slots: until the nodes agree, and all the
keys that it takes together are on one of them."""

TRIES = 1_000
"""More than fit into those seconds."""


class Cluster(Servers):
    """The primaries of a Redis Cluster: each key has a slot, and each slot an owner.

    The map of slots is our own. That of redis.RedisCluster takes servers to be made, drops the idle
    connections of the nodes that it asks, and locks for each key. Ours is replaced as a whole, so
    that neither another thread nor a fork finds it half done.
    """

    atomic = False

    def __init__(
        self,
        seeds: Sequence[Address],
        make_pool: Callable[[str, int], Pool],
        remap: Callable[[Address], Address] | None = None,
    ) -> None:
        self.locations = frozenset(location({"host": h, "port": p}) for h, p in seeds)
        self._seeds = seeds
        self._make_pool = make_pool
        self._remap = remap
        self._nodes: dict[Address, Node] = {}
        self._owners: Owners | None = None
        self._known: list[Node] = []
        self._failed: Node | None = None

    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        slot = key_slot(key)
        node = self._owner(slot)
        asking = False
        for _ in attempts(TRIES, SECONDS):
            try:
                reply = node.run((command,), writes, asking)[0]
            except StoreUnavailableError as error:
                self._fail(node)
                if error.maybe_applied or self._still(node, key):
                    raise
                # Nothing was done, and another node has taken over.
                node, asking = self._owner(slot), False
                continue
            if isinstance(reply, MovedError):
                self._owners = None
                node, asking = self._named(reply, node), False
            elif isinstance(reply, AskError):
                node, asking = self._named(reply, node), True
            elif not isinstance(reply, TryAgainError):
                return checked(reply, node.name)
            elif len(alone := for_each_key(command)) > 1:
                return self._added_up([(key, each) for each in alone], writes)
        raise StoreUnavailableError(
            f"Redis Cluster is moving slot {slot}, and no node took the command: try again later."
        )

    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        replies: list[Reply] = [None] * len(calls)
        by_node: dict[Node, list[int]] = {}
        for i, (key, _) in enumerate(calls):
            by_node.setdefault(self._owner(key_slot(key)), []).append(i)
        begun = False
        try:
            for node, indexes in by_node.items():
                answers = self._run(node, indexes, calls, writes)
                begun = begun or not all(isinstance(answer, Exception) for answer in answers)
                for i, answer in zip(indexes, answers, strict=True):
                    replies[i] = answer
                    if isinstance(answer, StoreUnavailableError) and self._still(node, calls[i][0]):
                        raise answer
                    if isinstance(answer, AskError | TryAgainError | StoreUnavailableError):
                        replies[i] = self.call(*calls[i], writes)
                        begun = True
        except StoreUnavailableError as error:
            error.maybe_applied |= writes and begun
            raise
        return all_checked(replies, "Redis Cluster", writes)

    def _added_up(self, calls: Sequence[Call], writes: bool) -> Reply:
        """Run apart, where either of two nodes has some of its keys, what was one command."""
        total, *rest = self.batch(calls, writes)
        for reply in rest:
            total += reply
        return total

    def _run(
        self, node: Node, indexes: Sequence[int], calls: Sequence[Call], writes: bool
    ) -> Sequence[Reply]:
        """Return a node's replies; where it did nothing, the reason in place of each of them."""
        try:
            return node.run([calls[i][1] for i in indexes], writes)
        except StoreUnavailableError as error:
            self._fail(node)
            if error.maybe_applied:
                raise
            return [error] * len(indexes)

    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        by_slot: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            by_slot.setdefault(key_slot(key), []).append(i)
        for indexes in by_slot.values():
            for start in range(0, len(indexes), size):
                yield indexes[start : start + size]

    def primaries(self) -> Sequence[Node]:
        owners = self._learn()  # A node that has given up its keys would not say so to a SCAN.
        nodes = [node for node in dict.fromkeys(owners) if node is not None]
        if None in owners:
            raise StoreUnavailableError("Redis Cluster has slots that no node serves.")
        return nodes

    def close(self) -> None:
        for node in list(self._nodes.values()):
            node.pool.disconnect()

    def _owner(self, slot: int) -> Node:
        node = (self._owners or self._learn())[slot]
        if node is None:
            self._owners = None
            raise StoreUnavailableError(f"Redis Cluster has no node that serves slot {slot}.")
        return node

    def _still(self, node: Node, key: bytes) -> bool:
        """Return whether a node that has failed is the key's owner even now."""
        return self._owner(key_slot(key)) is node

    def _fail(self, node: Node) -> None:
        """Let the next call ask who owns what, and this node last."""
        self._failed = node
        self._owners = None

    def _learn(self) -> Owners:
        nodes = dict.fromkeys([*self._known, *(self._node(seed) for seed in self._seeds)])
        failure: StoreUnavailableError | None = None
        for node in sorted(nodes, key=lambda node: node is self._failed):
            try:
                owners = self._ask(node)
            except StoreUnavailableError as error:
                failure = error
                continue
            if any(owners):
                self._known = [node for node in dict.fromkeys(owners) if node is not None]
                self._owners = owners
                return owners
        raise StoreUnavailableError("No node of the Redis Cluster can be reached.") from failure

    def _ask(self, node: Node) -> Owners:
        owners: Owners = [None] * REDIS_CLUSTER_HASH_SLOTS
        try:
            slots = checked(node.run(((b"CLUSTER", b"SLOTS"),), writes=False)[0], node.name)
        except ResponseError as error:
            if "cluster support disabled" not in str(error):
                raise
            raise InvalidStoreError(
                f"{node.name} is not a node of a Redis Cluster.",
                hint="Take ClusterConnectionFactory out of the OPTIONS of the CACHES alias.",
                id="django_persist.E011",
            ) from error
        for first, last, (host, port, *_), *_replicas in slots:
            owner = self._at(host.decode() if host else node.host, port)
            owners[first : last + 1] = [owner] * (last + 1 - first)
        return owners

    def _named(self, redirection: AskError, by: Node) -> Node:
        """Return the node that a redirection names; no host means that of the one who says so."""
        return self._at(redirection.host or by.host, redirection.port)

    def _at(self, host: str, port: int) -> Node:
        return self._node(self._remap((host, port)) if self._remap else (host, port))

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        return node or self._nodes.setdefault(address, Node(self._make_pool(*address)))
