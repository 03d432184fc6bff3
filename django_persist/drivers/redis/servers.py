"""Which server runs a command: what the Redis driver asks of one server, or of a cluster's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypeAlias

from .node import Node, Reply, all_checked, checked
from .pool import Pool, location
from .scripts import Command

Call: TypeAlias = tuple[bytes, Command]
"""A command with the key that says which server it goes to."""

PAGE = 1000
"""How many keys go into one command, or come out of one SCAN."""


class Servers(ABC):
    """Where entries are kept: which server runs a command for a key."""

    locations: frozenset[Hashable]
    """The databases of servers by which they are known from the settings."""

    atomic: bool
    """Whether a command can take any keys together."""

    @abstractmethod
    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        """Run one command and return its reply."""

    @abstractmethod
    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        """Run the commands, in one round trip per server, and return their replies."""

    @abstractmethod
    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        """Yield the indexes of the keys that may stand together in one command, `size` at most."""

    @abstractmethod
    def primaries(self) -> Sequence[Node]:
        """Return the servers that hold all the keys between them."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections; the next call opens one again."""

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the keys that match, in pages."""
        for node in self.primaries():
            cursor = b"0"
            while True:
                # Only strings: entries of ours are never of another type.
                command = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", PAGE, b"TYPE", b"string")
                cursor, page = checked(node.run((command,), writes=False)[0], node.name)
                yield page
                if cursor == b"0":
                    break


class Single(Servers):
    """One primary: a server by itself, or whichever one Sentinel names."""

    atomic = True

    def __init__(self, node: Node) -> None:
        self.node = node
        behind_sentinel = hasattr(node.pool, "sentinel_manager")
        where = _sentinel_location if behind_sentinel else _server_location
        self.locations = frozenset({where(node.pool)})

    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        return checked(self.node.run((command,), writes)[0], self.node.name)

    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        replies = self.node.run([command for _, command in calls], writes) if calls else []
        return all_checked(replies, self.node.name, writes)

    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        for start in range(0, len(keys), size):
            yield list(range(start, min(start + size, len(keys))))

    def primaries(self) -> Sequence[Node]:
        return (self.node,)

    def close(self) -> None:
        self.node.pool.disconnect()


def _server_location(pool: Pool) -> Hashable:
    return location(pool.connection_kwargs)


def _sentinel_location(pool: Any) -> Hashable:
    sentinels = (s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels)
    db = int(pool.connection_kwargs.get("db") or 0)
    return pool.service_name, frozenset(map(location, sentinels)), db
