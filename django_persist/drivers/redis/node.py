"""How the Redis driver talks to one server.

What may already have been done is never sent again: redis-py's own clients, which would, are not
used. A command is repeated only where the server has said that it did not run it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ...exceptions import InvalidStoreError, NotSupportedError, StoreUnavailableError
from .pool import Pool
from .scripts import Command, load_and_run

Reply: TypeAlias = Any

UNKNOWN_COMMAND = re.compile("Unknown (Redis )?command called from")

REFUSALS = (
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    TryAgainError,
    BusyLoadingError,
    AuthenticationError,
)
REFUSAL_CODES = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE"})


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
                    maybe_applied=writes,
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
            replies.append(connection.read_response(disconnect_on_error=False))
        except ResponseError as error:
            replies.append(error)
        except ConnectionError as error:
            if not _refused(error):
                raise
            replies.append(error)
    return replies[1::2] if asking else replies


def _refused(error: Exception) -> bool:
    """Return whether an error is the server's word that it did not run the command.

    redis-py makes lost connections of some.
    """
    return (
        isinstance(error, REFUSALS)
        # Sentinel's connections turn it into a ConnectionError.
        or isinstance(error.__context__, ReadOnlyError)
        or str(error) == "max number of clients reached"
        or str(error).partition(" ")[0] in REFUSAL_CODES
    )


def checked(reply: Reply, name: str) -> Reply:
    """Return the reply; raise it where it is an error, as ours where it is about availability."""
    if not isinstance(reply, RedisError):
        return reply
    text = str(reply)
    if _refused(reply):
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


def all_checked(replies: list[Reply], name: str, writes: bool) -> list[Reply]:
    """Return the replies; raise the first error, which says if another command was carried out."""
    try:
        for reply in replies:
            checked(reply, name)
    except StoreUnavailableError as error:
        error.maybe_applied |= writes and any(not isinstance(r, RedisError) for r in replies)
        raise
    return replies
