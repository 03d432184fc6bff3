"""Which server of a Redis Cluster runs a command."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from ...backoff import attempts
from ...exceptions import InvalidStoreError, StoreUnavailableError
from .node import Node, Reply, raise_for_error, raise_for_errors
from .pool import Pool
from .scripts import Command, split_by_key
from .servers import Call, Servers

Address: TypeAlias = tuple[str, int]

SlotMap: TypeAlias = list[Node | None]
"""For each slot the node that serves it, or None if no node does."""

RETRY_SECONDS = 2.0
"""How long a command is repeated while slots move: until the nodes agree on who has the slot, and
one node has all the keys that the command takes together."""

MAX_TRIES = 1_000
"""A bound on the number of tries, higher than RETRY_SECONDS leaves time for."""


class Cluster(Servers):
    """The primaries of a Redis Cluster. Each key has a slot, and each slot is on one primary.

    Keeps a slot map of its own. The one of redis.RedisCluster connects to servers as soon as it is
    made, drops the idle connections of the nodes that it asks, and takes a lock for each key. Ours
    is replaced as a whole, so that no other thread and no forked child sees it half done.
    """

    supports_atomic_set_many = False

    def __init__(
        self,
        seeds: Sequence[Address],
        make_pool: Callable[[str, int], Pool],
        remap: Callable[[Address], Address] | None,
        locations: frozenset[Hashable],
    ) -> None:
        self.locations = locations
        self._seeds = seeds
        self._make_pool = make_pool
        self._remap = remap
        self._nodes: dict[Address, Node] = {}
        self._slot_map: SlotMap | None = None
        self._last_primaries: list[Node] = []
        self._last_failed: Node | None = None

    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        slot = key_slot(key)
        node, asking = self._owner(slot), False
        for _ in attempts(MAX_TRIES, RETRY_SECONDS):
            try:
                reply = node.run((command,), writes, asking)[0]
            except StoreUnavailableError as error:
                self._note_failure(node)
                if error.maybe_applied or self._owner(slot) is node:
                    raise
                # Nothing was done, and another node has taken over.
                node, asking = self._owner(slot), False
                continue
            if isinstance(reply, MovedError):
                self._drop_slot_map()
                node, asking = self._redirected(reply, node), False
            elif isinstance(reply, AskError):
                node, asking = self._redirected(reply, node), True
            elif not isinstance(reply, TryAgainError):
                return raise_for_error(reply, node.name)
            elif len(parts := split_by_key(command)) > 1:
                # The slot is moving, and some of the keys are on one node, some on the other.
                return self._sum([(key, part) for part in parts], writes)
        raise StoreUnavailableError(
            f"Redis Cluster is moving slot {slot}, and no node took the command. Try again later."
        )

    def _sum(self, calls: Sequence[Call], writes: bool) -> Reply:
        total, *rest = self.batch(calls, writes)
        for reply in rest:
            total += reply
        return total

    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        replies: list[Reply] = [None] * len(calls)
        by_node: dict[Node, list[int]] = {}
        for i, (key, _) in enumerate(calls):
            by_node.setdefault(self._owner(key_slot(key)), []).append(i)
        any_done = False
        try:
            for node, indexes in by_node.items():
                node_replies = self._batch_on(node, [calls[i][1] for i in indexes], writes)
                any_done |= not all(isinstance(reply, Exception) for reply in node_replies)
                for i, reply in zip(indexes, node_replies, strict=True):
                    replies[i] = reply
                    key, command = calls[i]
                    if (
                        isinstance(reply, StoreUnavailableError)
                        and self._owner(key_slot(key)) is node
                    ):
                        raise reply
                    if isinstance(reply, AskError | TryAgainError | StoreUnavailableError):
                        # Nothing was done: the key's slot is moving, or has another node now.
                        replies[i] = self.call(key, command, writes)
                        any_done = True
        except StoreUnavailableError as error:
            error.maybe_applied |= writes and any_done
            raise
        return raise_for_errors(replies, "Redis Cluster", writes)

    def _batch_on(self, node: Node, commands: Sequence[Command], writes: bool) -> Sequence[Reply]:
        """Run commands on one node. If it certainly ran none, the error stands for each reply."""
        try:
            return node.run(commands, writes)
        except StoreUnavailableError as error:
            self._note_failure(node)
            if error.maybe_applied:
                raise
            return [error] * len(commands)

    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        by_slot: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            by_slot.setdefault(key_slot(key), []).append(i)
        for indexes in by_slot.values():
            for start in range(0, len(indexes), size):
                yield indexes[start : start + size]

    def primaries(self) -> Sequence[Node]:
        # Always asks for a new slot map: a node that has given up its slots answers a SCAN all the
        # same, without a redirection.
        slot_map = self._load_slot_map()
        if None in slot_map:
            raise StoreUnavailableError("Redis Cluster has slots that no node serves.")
        return _nodes_of(slot_map)

    def close(self) -> None:
        for node in list(self._nodes.values()):
            node.pool.close_idle()

    # The slot map.

    def _owner(self, slot: int) -> Node:
        node = (self._slot_map or self._load_slot_map())[slot]
        if node is None:
            self._drop_slot_map()
            raise StoreUnavailableError(f"Redis Cluster has no node that serves slot {slot}.")
        return node

    def _drop_slot_map(self) -> None:
        """Let the next call ask for a new slot map."""
        self._slot_map = None

    def _note_failure(self, node: Node) -> None:
        """Let the next call ask for a new slot map, and this node last."""
        self._last_failed = node
        self._drop_slot_map()

    def _load_slot_map(self) -> SlotMap:
        """Get the slot map from the first node that has one."""
        nodes = dict.fromkeys([*self._last_primaries, *map(self._node, self._seeds)])
        failure: StoreUnavailableError | None = None
        for node in sorted(nodes, key=lambda node: node is self._last_failed):
            try:
                slot_map = self._fetch_slot_map(node)
            except StoreUnavailableError as error:
                failure = error
                continue
            if primaries := _nodes_of(slot_map):
                self._last_primaries = primaries
                self._slot_map = slot_map
                return slot_map
        raise StoreUnavailableError("No node of the Redis Cluster can be reached.") from failure

    def _fetch_slot_map(self, node: Node) -> SlotMap:
        try:
            reply = node.run(((b"CLUSTER", b"SLOTS"),), writes=False)[0]
            ranges = raise_for_error(reply, node.name)
        except ResponseError as error:
            if "cluster support disabled" not in str(error):
                raise
            raise InvalidStoreError(
                f"{node.name} is not a node of a Redis Cluster.",
                hint="Remove ClusterConnectionFactory from the OPTIONS of the CACHES alias.",
                id="django_persist.E011",
            ) from error
        slot_map: SlotMap = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            owner = self._named_node(host.decode() if host else node.host, port)
            slot_map[first : last + 1] = [owner] * (last + 1 - first)
        return slot_map

    # The nodes.

    def _redirected(self, redirection: AskError, sender: Node) -> Node:
        """Return the node that a redirection names. Without a host, it is on the sender's."""
        return self._named_node(redirection.host or sender.host, redirection.port)

    def _named_node(self, host: str, port: int) -> Node:
        """Return a node by the address that the cluster gives it."""
        return self._node(self._remap((host, port)) if self._remap else (host, port))

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        return node or self._nodes.setdefault(address, Node(self._make_pool(*address)))


def _nodes_of(slot_map: SlotMap) -> list[Node]:
    return [node for node in dict.fromkeys(slot_map) if node is not None]
