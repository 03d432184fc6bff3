"""How the Redis driver talks to a server, or to the servers of a cluster.

What may already have been done is never sent again: redis-py's own clients, which would, are not
used. A command is repeated only where the server has said that it did not run it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode

from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from ..exceptions import InvalidStoreError, NotSupportedError, StoreUnavailableError
from .redis_scripts import Command, load_and_run

Reply: TypeAlias = Any
Call: TypeAlias = tuple[bytes, Command]
"""A command with the key that says which server it goes to."""

PAGE = 1000
"""How many keys go into one command, or come out of one SCAN."""

OURS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_timeout": False,
    "retry_on_error": [],
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
    # With RESP 3 a server may push messages, and the pool no longer tells a connection with an
    # unread reply by there being something to read.
    "protocol": 2,
}
"""Options of our connections, whatever the alias, its URL or another alias says."""

NOT_OURS = ("cache", "cache_config", "cache_factory", "maint_notifications_config")
"""Options of a pool that need RESP 3: a client-side cache, and maintenance messages."""

UNKNOWN_COMMAND = re.compile("Unknown (Redis )?command called from")

REFUSALS = (ReadOnlyError, OutOfMemoryError, ClusterDownError, TryAgainError)
REFUSAL_CODES = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE"})


class Pool(Protocol):
    """What we use of a redis-py connection pool."""

    connection_kwargs: dict[str, Any]

    def get_connection(self) -> Any: ...
    def release(self, connection: Any) -> None: ...
    def reset(self) -> None: ...
    def disconnect(self) -> None: ...


def private_pool(factory: Any, url: str) -> Pool:
    """Return a pool for the server at `url`, made as the factory makes its own but shared by none.

    The factory must belong to a cache of our own.
    """
    given = getattr(factory, "pool_cls_kwargs", {})
    factory.pool_cls_kwargs = {k: v for k, v in given.items() if k not in NOT_OURS} | OURS
    url, mark, query = url.partition("?")
    kept = [(k, v) for k, v in parse_qsl(query) if k not in OURS and k not in NOT_OURS]
    url += mark + urlencode(kept)
    pool: Pool = factory.get_connection_pool(factory.make_connection_params(url))
    pool.connection_kwargs.update(OURS)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.set_retry(OURS["retry"])  # Rather than one again, the next is asked.
    pool.reset()
    return pool


def location(options: Mapping[str, Any]) -> Hashable:
    """Return which database of which server connections with these options lead to."""
    db = int(options.get("db") or 0)
    if "path" in options:
        return "unix", options["path"], db
    host = str(options.get("host") or "localhost").lower()
    return "127.0.0.1" if host == "localhost" else host, int(options.get("port") or 6379), db


def _server_location(pool: Pool) -> Hashable:
    return location(pool.connection_kwargs)


def _sentinel_location(pool: Any) -> Hashable:
    sentinels = (s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels)
    db = int(pool.connection_kwargs.get("db") or 0)
    return pool.service_name, frozenset(map(location, sentinels)), db


class Node:
    """One server."""

    def __init__(self, pool: Pool) -> None:
        options = pool.connection_kwargs
        service = getattr(pool, "service_name", None)
        self.pool = pool
        self.host = str(options.get("host") or "localhost")
        where = options.get("path") or f"{self.host}:{options.get('port') or 6379}"
        self.name = f"Redis service {service!r}" if service else f"Redis at {where}"

    def run(self, commands: Sequence[Command], writes: bool, asking: bool = False) -> list[Reply]:
        """Send the commands in one go and return their replies; errors are replies as well.

        A script that the server doesn't have is sent once more, with its text: it has not run.
        """
        replies = self._exchange(commands, writes, asking)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = [load_and_run(commands[i]) for i in unknown]
            try:
                for i, reply in zip(unknown, self._exchange(again, writes, asking), strict=True):
                    replies[i] = reply
            except StoreUnavailableError as error:
                error.maybe_applied |= writes and len(unknown) < len(commands)
                raise
        return replies

    def _exchange(self, commands: Sequence[Command], writes: bool, asking: bool) -> list[Reply]:
        try:
            connection = self.pool.get_connection()
        except (RedisError, OSError) as error:
            raise self._unreachable(error) from error
        clean = False
        try:
            packed = _pack(connection, commands, asking)
            try:
                connection.check_health()
            except (RedisError, OSError) as error:
                raise self._unreachable(error) from error
            try:
                connection.send_packed_command(packed, check_health=False)
                replies = _read(connection, len(commands), asking)
            except (RedisError, OSError) as error:
                raise StoreUnavailableError(
                    f"The connection to {self.name} was lost: {error}",
                    maybe_applied=writes and not (len(commands) == 1 and _refused(error)),
                ) from error
            # A server that became a replica: its name may lead to the new primary by now.
            clean = not any(isinstance(reply, ReadOnlyError) for reply in replies)
            return replies
        finally:
            # Whatever cut us short, a connection with unread replies is never used again.
            if not clean:
                connection.disconnect()
            self.pool.release(connection)

    def _unreachable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.name} can't be reached: {error}")


def _pack(connection: Any, commands: Sequence[Command], asking: bool) -> Any:
    if asking:
        return connection.pack_commands(
            [c for command in commands for c in ((b"ASKING",), command)]
        )
    if len(commands) == 1:
        return connection.pack_command(*commands[0])
    return connection.pack_commands(commands)


def _read(connection: Any, count: int, asking: bool) -> list[Reply]:
    replies: list[Reply] = []
    for _ in range(2 * count if asking else count):
        try:
            replies.append(connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies[1::2] if asking else replies


def _refused(error: Exception) -> bool:
    """Return whether redis-py made a lost connection of what was a server's refusal."""
    return (
        isinstance(error, BusyLoadingError | AuthenticationError)
        # Sentinel's connections turn it into a ConnectionError.
        or isinstance(error.__context__, ReadOnlyError)
        or str(error) == "max number of clients reached"
    )


def checked(reply: Reply, name: str) -> Reply:
    """Return the reply; raise it where it is an error, as ours where it is about availability."""
    if not isinstance(reply, ResponseError):
        return reply
    text = str(reply)
    if isinstance(reply, REFUSALS) or text.partition(" ")[0] in REFUSAL_CODES:
        raise StoreUnavailableError(f"{name} refused: {text}") from reply
    if isinstance(reply, AskError):
        raise InvalidStoreError(
            f"{name} is one node of a Redis Cluster.",
            hint="Set CONNECTION_FACTORY in the OPTIONS of the CACHES alias to "
            "'django_persist.cluster.ClusterConnectionFactory'.",
            id="django_persist.E011",
        ) from reply
    if UNKNOWN_COMMAND.match(text):
        raise NotSupportedError(
            f"{name} lacks a command; Redis 7 or later, or Valkey, is needed."
        ) from reply
    said, quoted, _ = text.partition(", with args beginning with")
    if quoted:  # The server repeats arguments: a value could be among them.
        raise type(reply)(said)
    raise reply


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


def all_checked(replies: list[Reply], name: str, writes: bool) -> list[Reply]:
    """Return the replies; raise the first error, which says if another command was carried out."""
    try:
        for reply in replies:
            checked(reply, name)
    except StoreUnavailableError as error:
        error.maybe_applied |= writes and any(not isinstance(r, ResponseError) for r in replies)
        raise
    return replies
