"""Which server runs a command: the interface, and the case of a single server.

cluster.py has the other case, a Redis Cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import TypeAlias

from .node import Node, Reply, raise_for_error, raise_for_errors
from .scripts import Command

Call: TypeAlias = tuple[bytes, Command]
"""A command, after the Redis key that decides which server runs it."""

PAGE = 1000
"""The number of keys in one command, and about the number that one SCAN returns."""


class Servers(ABC):
    """The servers that hold a store's entries. Finds the one that runs a command."""

    locations: frozenset[Hashable]
    """The Redis databases where the entries are, as far as the settings name them."""

    supports_atomic_set_many: bool
    """Whether one command can take any keys together, so that set_many is all or nothing."""

    @abstractmethod
    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        """Run one command on the server that holds the key, and return its reply.

        Raises StoreUnavailableError, or redis-py's ResponseError.
        """

    @abstractmethod
    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        """Run the commands in one round trip per server, and return their replies.

        Raises StoreUnavailableError, or redis-py's ResponseError. Other commands of the batch may
        have taken effect by then.
        """

    @abstractmethod
    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        """Yield indexes of keys that one command can take together, `size` at most in a group."""

    @abstractmethod
    def primaries(self) -> Sequence[Node]:
        """Return the servers that together hold all the keys."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections. The next call opens a new one."""

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the keys that match a glob pattern, page by page."""
        for node in self.primaries():
            cursor = b"0"
            while True:
                # Entries are strings. A key of another Redis type is not ours.
                command = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", PAGE, b"TYPE", b"string")
                reply = node.run((command,), writes=False)[0]
                cursor, page = raise_for_error(reply, node.name)
                yield page
                if cursor == b"0":
                    break


class Single(Servers):
    """One primary: a single server, or the one that Sentinel names."""

    supports_atomic_set_many = True

    def __init__(self, node: Node, location: Hashable) -> None:
        self.node = node
        self.locations = frozenset({location})

    def call(self, key: bytes, command: Command, writes: bool) -> Reply:
        return raise_for_error(self.node.run((command,), writes)[0], self.node.name)

    def batch(self, calls: Sequence[Call], writes: bool) -> list[Reply]:
        replies = self.node.run([command for _, command in calls], writes) if calls else []
        return raise_for_errors(replies, self.node.name, writes)

    def groups(self, keys: Sequence[bytes], size: int) -> Iterator[list[int]]:
        for start in range(0, len(keys), size):
            yield list(range(start, min(start + size, len(keys))))

    def primaries(self) -> Sequence[Node]:
        return (self.node,)

    def close(self) -> None:
        self.node.pool.close_idle()
