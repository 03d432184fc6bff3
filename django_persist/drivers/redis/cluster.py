"""Which server of a Redis Cluster runs a command."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, TryAgainError

from ...backoff import attempts
from ...exceptions import InvalidStoreError, PersistError, StoreUnavailableError
from .node import (
    REPLACED,
    Node,
    Reply,
    note_partial_write,
    raise_for_error,
    raise_for_errors,
)
from .pool import Pool
from .scripts import Command, split_by_key
from .servers import Call, Servers

Address: TypeAlias = tuple[str, int]

SlotMap: TypeAlias = list[Node | None]
"""For each slot the node that serves it, or None if no node does."""

RETRY_SECONDS = 2.0
"""How long a command is repeated while slots move: until the nodes agree on who has the slot, and
one node has all the keys that the command takes together."""

RETRIED = AskError, TryAgainError, StoreUnavailableError, *REPLACED
"""What stands for the reply of a command of a batch that was not run, but may run elsewhere."""

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
        self._failures: dict[Node, float] = {}  # When each failed last, if not asked since.

    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        slot = key_slot(key)
        node, asking = self._owner(slot), False
        for _ in attempts(MAX_TRIES, RETRY_SECONDS):
            try:
                reply = node.run((command,), writes, asking)[0]
            except StoreUnavailableError as error:
                if error.maybe_applied:
                    self._note_failure(node)
                    raise
                if not self._has_other_owner(slot, node):
                    raise
                node, asking = self._owner(slot), False
                continue
            if isinstance(reply, MovedError):
                self._drop_slot_map()
                node, asking = self._redirected(reply, node), False
            elif isinstance(reply, AskError):
                node, asking = self._redirected(reply, node), True
            elif isinstance(reply, REPLACED) and self._has_other_owner(slot, node):
                node, asking = self._owner(slot), False
            elif not isinstance(reply, TryAgainError):
                return raise_for_error(reply, node.name)
            elif len(parts := split_by_key(command)) > 1:
                # The slot is moving, and some of the keys are on one node, some on the other.
                return self._sum([(key, part) for part in parts], writes)
        raise StoreUnavailableError(
            f"Redis Cluster is moving slot {slot}, and no node took the command. Try again later."
        )

    def _has_other_owner(self, slot: int, failed: Node) -> bool:
        """Return whether another node has taken over the slot of a node that did nothing."""
        self._note_failure(failed)
        return self._owner(slot) is not failed

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
                    if isinstance(reply, RETRIED):
                        # Nothing was done: the key's slot is moving, or has another node now.
                        replies[i] = self.call(key, command, writes)
                        any_done = True
            return raise_for_errors(replies, "Redis Cluster", writes)
        except (PersistError, RedisError) as error:
            if writes and any_done:
                note_partial_write(error)
            raise

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
        # same, without a redirection. So does one that is cut off from the others.
        slot_map = self._load_slot_map(connected=True)
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
        """Let the next call ask for a new slot map, and this node after the others."""
        self._failures[node] = time.monotonic()
        self._drop_slot_map()

    def _load_slot_map(self, *, connected: bool = False) -> SlotMap:
        """Get the slot map from the first node that is in touch with most of the cluster.

        A node that is cut off from the others can still be reached, and has an old map. If every
        node is, the first map is taken, because a node that is cut off refuses commands for keys.
        With `connected` that is an error.
        """
        nodes = list(dict.fromkeys([*self._last_primaries, *map(self._node, self._seeds)]))
        nodes.sort(key=lambda node: self._failures.get(node, 0.0))
        failure: StoreUnavailableError | None = None
        old_map: SlotMap | None = None
        for node in nodes:  # It grows: the seeds may not be the nodes to ask.
            try:
                slot_map, is_connected = self._fetch_slot_map(node)
            except StoreUnavailableError as error:
                self._failures[node] = time.monotonic()
                failure = error
                continue
            primaries = _nodes_of(slot_map)
            if primaries and is_connected:
                self._failures.pop(node, None)
                self._follow(slot_map)
                return slot_map
            if primaries and old_map is None:
                old_map = slot_map
            nodes += [primary for primary in primaries if primary not in nodes]
        if old_map is None:
            raise StoreUnavailableError(
                "No node of the Redis Cluster has said which node has which slots. "
                f"{failure or ''}",
                misconfigured=failure is not None and failure.misconfigured,
            ) from failure
        if connected:
            raise StoreUnavailableError(
                "Redis Cluster is down: each node that can be reached says cluster_state:fail."
            ) from failure
        self._follow(old_map)
        return old_map

    def _follow(self, slot_map: SlotMap) -> None:
        self._last_primaries = _nodes_of(slot_map)
        self._slot_map = slot_map

    def _fetch_slot_map(self, node: Node) -> tuple[SlotMap, bool]:
        """Return the node's slot map, and whether the node is in touch with most of the others."""
        slots, info = node.run(((b"CLUSTER", b"SLOTS"), (b"CLUSTER", b"INFO")), writes=False)
        try:
            ranges = raise_for_error(slots, node.name)
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
        # A user who may not ask for CLUSTER INFO gets an error in its place.
        return slot_map, not (isinstance(info, bytes) and b"cluster_state:fail" in info)

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
