"""Commands to one server, and the errors among its replies.

A command that may have taken effect is never sent again. redis-py's own clients would do so, which
is why they are not used. A command is repeated only if the server has replied that it did not run
it.
"""

from __future__ import annotations

import re
import sys
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
from redis.sentinel import MasterNotFoundError

from ...exceptions import (
    InvalidStoreError,
    NotSupportedError,
    PersistError,
    StoreUnavailableError,
)
from ...interruptions import raise_interruption
from .pool import NoFreeConnectionError, Pool
from .scripts import Command, as_eval

Reply: TypeAlias = Any
"""What a command replied: redis-py's value for it, or the error, as an exception object."""

REFUSALS = (
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    TryAgainError,
    BusyLoadingError,
    AuthenticationError,
)
"""Errors by which a server says that it did not run a command because of its own state."""

REPLACED = (ClusterDownError, BusyLoadingError, ReadOnlyError)
"""Those after which another node of a cluster may have the slots of the one that refused."""

UNKNOWN_COMMAND = re.compile(
    "unknown (?:command '(.*)'|(?:redis )?command called from)", re.IGNORECASE
)
"""What a server says of a command that it doesn't have. About one in a script it has no name."""

REFUSAL_CODES = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE"})
"""Codes of more such errors, for which redis-py has no class."""


class Node:
    """One server, and the pool of connections to it."""

    def __init__(self, pool: Pool, name: str | None = None) -> None:
        options = pool.connection_kwargs
        self.pool = pool
        self.host = str(options.get("host") or "localhost")
        address = options.get("path") or f"{self.host}:{options.get('port') or 6379}"
        self.name = name or f"Redis at {address}"

    def run(self, commands: Sequence[Command], writes: bool, asking: bool = False) -> list[Reply]:
        """Send the commands in one round trip and return their replies, errors included.

        `writes` says whether the commands change entries, `asking` whether each goes out after
        ASKING, as a cluster node requires for a slot that it is importing. A script that the server
        doesn't know has not run: it is sent once more, with its text.

        Raises StoreUnavailableError if the server can't be reached or the connection is lost.
        """
        replies = self._exchange(commands, writes, asking)
        for reply in replies:  # With one reply, a loop takes half as long as any() or a list.
            if isinstance(reply, NoScriptError):
                self._send_texts(commands, replies, writes, asking)
                break
        return replies

    def _send_texts(
        self, commands: Sequence[Command], replies: list[Reply], writes: bool, asking: bool
    ) -> None:
        """Send the scripts that the server didn't know, and put their replies into `replies`."""
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        try:
            new_replies = self._exchange([as_eval(commands[i]) for i in unknown], writes, asking)
        except StoreUnavailableError as error:
            # The other commands have run.
            error.maybe_applied |= writes and len(unknown) < len(commands)
            raise
        for i, reply in zip(unknown, new_replies, strict=True):
            replies[i] = reply

    def _exchange(self, commands: Sequence[Command], writes: bool, asking: bool) -> list[Reply]:
        """Send the commands over one connection and read their replies."""
        handled = sys.exception()
        try:
            connection = self.pool.get_connection()
        except (RedisError, OSError) as error:
            raise_interruption(error, handled, RedisError)
            raise self._not_connected(error) from error
        try:
            self._check_health(connection)
            replies = self._send_and_read(connection, commands, writes, asking)
        except BaseException as error:
            # Replies may still be under way, and the next call must not read them.
            self.pool.discard(connection)
            raise_interruption(error, handled, RedisError)
            raise
        for reply in replies:
            if isinstance(reply, ReadOnlyError):
                # The server has become a replica: its name may lead to the new primary by now.
                self.pool.discard(connection)
                break
        else:
            self.pool.release(connection)
        return replies

    def _check_health(self, connection: Any) -> None:
        """Send the PING of the option health_check_interval, if it is due."""
        try:
            connection.check_health()
        except (RedisError, OSError) as error:
            raise self._not_connected(error) from error

    def _send_and_read(
        self, connection: Any, commands: Sequence[Command], writes: bool, asking: bool
    ) -> list[Reply]:
        try:
            connection.send_packed_command([pack(commands, asking)], check_health=False)
            return _read_replies(connection, len(commands), asking)
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(
                f"The connection to {self.name} was lost: {error}", maybe_applied=writes
            ) from error

    def _not_connected(self, error: Exception) -> StoreUnavailableError:
        """Return the error for a call of which nothing was sent."""
        if isinstance(error, NoFreeConnectionError):
            return StoreUnavailableError(f"{self.name} was not asked: {error}.")
        if isinstance(error, MasterNotFoundError):
            misconfigured = getattr(error.__cause__, "misconfigured", False)
            return StoreUnavailableError(f"{self.name}: {error}", misconfigured=misconfigured)
        if _is_refusal(error) or isinstance(error, ResponseError):
            return StoreUnavailableError(
                f"{self.name} refused the connection: {error}",
                # Any other ResponseError is about an option, such as the number of the database.
                misconfigured=isinstance(error, AuthenticationError) or not _is_refusal(error),
            )
        return StoreUnavailableError(f"{self.name} can't be reached: {error}")


def pack(commands: Sequence[Command], asking: bool) -> bytes:
    """Return commands as the server reads them (RESP), each after an ASKING if `asking`.

    hiredis could do this, but a signal handler that raises while it does ends the process.
    """
    packed = []
    for command in commands:
        if asking:
            packed.append(b"*1\r\n$6\r\nASKING\r\n")
        packed.append(b"*%d\r\n" % len(command))
        for argument in command:
            text = argument if isinstance(argument, bytes) else b"%d" % argument
            packed.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(packed)


class Packer:
    """Packs the commands with which redis-py opens a connection, for the same reason."""

    def pack(self, *arguments: Any) -> list[bytes]:
        """Return one command as the server reads it, in a list, as redis-py sends it."""
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
        return [pack([tuple(texts)], asking=False)]


def _read_replies(connection: Any, count: int, asking: bool) -> list[Reply]:
    replies: list[Reply] = []
    for _ in range(2 * count if asking else count):
        try:
            replies.append(connection.read_response(disconnect_on_error=False))
        except ResponseError as error:
            replies.append(error)
        except ConnectionError as error:
            if not _is_refusal(error):
                raise
            replies.append(error)
    return replies[1::2] if asking else replies  # ASKING has a reply of its own.


def _is_refusal(error: Exception) -> bool:
    """Return whether the server has said with this error that it did not run the command.

    redis-py raises some of these errors as a ConnectionError, as if the connection were lost.
    """
    return (
        isinstance(error, REFUSALS)
        # Sentinel's connections raise a ConnectionError in place of a ReadOnlyError.
        or isinstance(error.__context__, ReadOnlyError)
        or str(error) == "max number of clients reached"
        or str(error).partition(" ")[0] in REFUSAL_CODES
    )


def raise_for_error(reply: Reply, name: str) -> Reply:
    """Return the reply of the server called `name`, or raise it if it is an error.

    An error about the server's state becomes a StoreUnavailableError, with `maybe_applied` False.
    """
    if not isinstance(reply, RedisError):
        return reply
    text = str(reply)
    if _is_refusal(reply):
        raise StoreUnavailableError(
            f"{name} refused the command: {text}",
            misconfigured=isinstance(reply, AuthenticationError),
        ) from reply
    if isinstance(reply, AskError):
        raise InvalidStoreError(
            f"{name} is a node of a Redis Cluster.",
            hint="Set the BACKEND of the CACHES alias to 'django_redis.cache.RedisCache', and "
            "CONNECTION_FACTORY in its OPTIONS to "
            "'django_persist.cluster.ClusterConnectionFactory'.",
            id="django_persist.E011",
        ) from reply
    summary, has_arguments, _ = text.partition(", with args beginning with")
    if has_arguments:  # The server quotes the arguments, and one of them may be a value.
        reply = type(reply)(summary)
    if match := UNKNOWN_COMMAND.match(summary):
        raise NotSupportedError(
            f"{name} lacks {match[1] or 'a command'}, which RedisDriver needs. Use Redis 7 or "
            "later, or Valkey, with its commands under their own names (no rename-command)."
        ) from reply
    raise reply


def raise_for_errors(replies: list[Reply], name: str, writes: bool) -> list[Reply]:
    """Return the replies, or raise the first error among them.

    If another command of a call that writes was carried out, the error says so: see
    `note_partial_write`.
    """
    try:
        for reply in replies:
            raise_for_error(reply, name)
    except (PersistError, RedisError) as error:
        if writes and any(not isinstance(reply, RedisError) for reply in replies):
            note_partial_write(error)
        raise
    return replies


def note_partial_write(error: Any) -> None:
    """Set `maybe_applied` on an error of any class, because the call has written some keys."""
    if not getattr(error, "maybe_applied", False):
        error.maybe_applied = True
        error.add_note("The call has many keys, and was carried out for some of them.")
