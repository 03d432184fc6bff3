"""The Redis driver: each call as one command or one script, wherever possible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import Any

from django.core.checks import CheckMessage, Warning
from redis.exceptions import ResponseError

from ...exceptions import DecodeError
from ...expiry import EPOCH, MICROSECOND, Expiry, past
from ..base import COUNTER, LEAST, MOST, Advanced, Counted, Place, Stored, Text, Write
from ..cache import CacheDriver, resolve
from . import scripts
from .checks import check_servers
from .node import note_partial_write, raise_for_error
from .scripts import Argument, Command
from .servers import PAGE
from .settings import aliases_that_flush, servers_of

READ_PAGE = 100
"""How many values one command of a listing reads, and memory holds, at a time."""

MILLISECOND = timedelta(milliseconds=1)

_GLOB_SPECIAL = re.compile(rb"[*?\[\]\\^-]")


class RedisDriver(CacheDriver):
    """Keeps entries in Redis 7 or later, or Valkey: on one server, behind Sentinel or in a Cluster.

    `cache` is an alias of CACHES with Django's RedisCache or django-redis's. It says where the
    server is and how to connect to it. Reads go to the primary. Sentinel and Cluster need
    django-redis.

    On a Cluster `set_many` is all or nothing only within each slot, and a listing made while slots
    move from node to node can miss keys that move, or have them twice.
    """

    supports_exact_listings = False  # SCAN may return a key twice.

    def __init__(self, cache: str) -> None:
        super().__init__(resolve(cache))
        self.alias = cache
        self.servers = servers_of(self.cache, cache)
        self.supports_atomic_set_many = self.servers.supports_atomic_set_many

    # One key.

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        name = self._name(key)
        if isinstance(expires, datetime):
            return self._run_script(scripts.CREATE, name, expires, value)
        command = (b"SET", name, value, b"NX", *_set_options(expires))
        return self.servers.call(name, command, writes=True) is not None

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        if isinstance(expires, datetime) or (keep and expires is not None):
            # SET alone can neither check a moment by the server's clock, nor give a lifetime to a
            # new entry only.
            self.set_many([(key, value, expires)], keep=keep)
            return
        name = self._name(key)
        options = (b"KEEPTTL",) if keep else _set_options(expires)
        self.servers.call(name, (b"SET", name, value, *options), writes=True)

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        name = self._name(key)
        try:
            text: bytes | None = self.servers.call(name, (b"GET", name), writes=False)
        except ResponseError as error:
            if _is_wrong_type(error):
                raise _not_a_string(key) from error
            raise
        return text

    def get_item(self, key: str) -> Stored | None:
        name = self._name(key)
        command = scripts.evalsha(scripts.READ, [name])
        value, expires_at_ms = self.servers.call(name, command, writes=False)
        if value is not None:
            return Stored(value, _parse_expires_at(expires_at_ms))
        if expires_at_ms != -2:
            raise _not_a_string(key)
        return None

    def contains(self, key: str) -> bool:
        name = self._name(key)
        return bool(self.servers.call(name, (b"EXISTS", name), writes=False))

    def remove(self, key: str) -> bool:
        name = self._name(key)
        return bool(self.servers.call(name, (b"UNLINK", name), writes=True))

    def touch(self, key: str, expires: Expiry) -> bool:
        name = self._name(key)
        if not isinstance(expires, timedelta):
            return self._run_script(scripts.TOUCH, name, expires)
        command = (b"PEXPIRE", name, _milliseconds(expires))
        return bool(self.servers.call(name, command, writes=True))

    def incr(
        self,
        key: str,
        by: int,
        expires: Expiry,
        *,
        at_least: int = LEAST,
        at_most: int = MOST,
    ) -> int | None:
        if by not in COUNTER:
            return None
        name = self._name(key)
        command: Command = (b"INCRBY", name, by)
        if at_least > LEAST or at_most < MOST:
            bounds = at_least - by, at_most - by, int(at_least <= by <= at_most)
            args = *_script_expiry(expires), by, *bounds
            command = scripts.evalsha(scripts.INCR_WITHIN, [name], *args)
        elif expires is not None:
            command = scripts.evalsha(scripts.INCR, [name], *_script_expiry(expires), by)
        total = self._call_on_integer(name, command)
        if total is None:
            return None
        # The scripts reply a sum as text: b"-1".
        if command[0] == b"EVALSHA" and total == -1:
            assert isinstance(expires, datetime)
            raise past(expires)
        return int(total)

    def incr_with_ttl(self, key: str, by: int, expires: Expiry) -> Counted | None:
        if by not in COUNTER:
            return None
        name = self._name(key)
        args = *_script_expiry(expires), by
        reply = self._call_on_integer(name, scripts.evalsha(scripts.INCR_WITH_TTL, [name], *args))
        if reply is None:
            return None
        if reply == -1:
            assert isinstance(expires, datetime)
            raise past(expires)
        total, ttl = reply
        return Counted(int(total), None if ttl < 0 else ttl * MILLISECOND)

    def advance(self, key: str, by: timedelta, at_most: timedelta) -> Advanced | None:
        name = self._name(key)
        args = by // MICROSECOND, at_most // MICROSECOND
        reply = self._call_on_integer(name, scripts.evalsha(scripts.ADVANCE, [name], *args))
        if reply is None:
            return None
        moved, ahead = reply
        return Advanced(bool(moved), ahead * MICROSECOND)

    def _call_on_integer(self, name: bytes, command: Command) -> Any:
        """Run a command that changes an integer; return None if the key holds something else."""
        try:
            return self.servers.call(name, command, writes=True)
        except ResponseError as error:
            text = str(error)
            if _is_wrong_type(error) or "not an integer" in text or "overflow" in text:
                return None
            raise

    # Compare and swap.

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        args = value, int(keep), _to_bytes(seen)
        return self._run_script(scripts.REPLACE, self._name(key), expires, *args)

    def remove_if(self, key: str, seen: Text) -> bool:
        name = self._name(key)
        command = scripts.evalsha(scripts.REMOVE_IF, [name], _to_bytes(seen))
        return bool(self.servers.call(name, command, writes=True))

    def _run_script(self, script: bytes, name: bytes, expires: Expiry, *args: Argument) -> bool:
        """Run a script for one key that replies 1 or 0, or -1 if the moment has passed."""
        command = scripts.evalsha(script, [name], *_script_expiry(expires), *args)
        reply = self.servers.call(name, command, writes=True)
        if reply == -1:
            assert isinstance(expires, datetime)
            raise past(expires)
        return bool(reply)

    # Many keys.

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        found: list[tuple[str, Text]] = []
        for indexes, values in self._run_on_keys(b"MGET", keys, writes=False):
            pairs = zip(map(keys.__getitem__, indexes), values, strict=True)
            found += [pair for pair in pairs if pair[1] is not None]
        return found

    def remove_many(self, keys: Sequence[str]) -> int:
        replies = self._run_on_keys(b"UNLINK", keys, writes=True)
        return sum(removed for _, removed in replies)

    def _run_on_keys(
        self, command: bytes, keys: Sequence[str], *, writes: bool
    ) -> Iterator[tuple[list[int], Any]]:
        """Run a command that takes keys only. Yield each reply after the indexes of its keys."""
        names = self._names(keys)
        groups = list(self.servers.groups(names, PAGE))
        calls = [(names[group[0]], (command, *map(names.__getitem__, group))) for group in groups]
        return zip(groups, self.servers.batch(calls, writes), strict=True)

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        self._run_write_script(scripts.SET, writes, keep=keep)

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        replies = self._run_write_script(scripts.CREATE_MANY, writes)
        return [writes[indexes[i - 1]][0] for indexes, existing in replies for i in existing]

    def _run_write_script(
        self, script: bytes, writes: Sequence[Write], *, keep: bool = False
    ) -> list[tuple[list[int], Any]]:
        """Run a script for all the writes, on a cluster once per slot.

        Return the reply of each run after the indexes of its writes.
        """
        names = self._names(key for key, _, _ in writes)
        groups = list(self.servers.groups(names, size=max(1, len(names))))
        if len(groups) > 1:
            self._refuse_past_expiries(writes, names, groups)
        # Most writes share one expiry: convert each different one once.
        distinct = set(map(itemgetter(2), writes))
        expiries = {expires: _script_expiry(expires) for expires in distinct}
        calls = []
        for indexes in groups:
            args: list[Argument] = [int(keep)]
            for i in indexes:
                _, value, expires = writes[i]
                args += *expiries[expires], value
            group_names = [names[i] for i in indexes]
            calls.append((group_names[0], scripts.evalsha(script, group_names, *args)))
        replies = list(zip(groups, self.servers.batch(calls, writes=True), strict=True))
        for indexes, reply in replies:
            if isinstance(reply, int) and reply < 0:
                _, _, expires = writes[indexes[-reply - 1]]
                assert isinstance(expires, datetime)
                error = past(expires)
                if any(not isinstance(other, int) or other >= 0 for _, other in replies):
                    note_partial_write(error)
                raise error
        return replies

    def _refuse_past_expiries(
        self, writes: Sequence[Write], names: Sequence[bytes], groups: Sequence[list[int]]
    ) -> None:
        """Raise InvalidExpiryError before the first of several scripts writes.

        A script checks the moments of its own keys only. This asks the server of each group that
        has any for its time.
        """
        timed = []
        for indexes in groups:
            moments = [expires for i in indexes if isinstance(expires := writes[i][2], datetime)]
            if moments:
                timed.append((names[indexes[0]], min(moments)))
        replies = self.servers.batch([(name, (b"TIME",)) for name, _ in timed], writes=False)
        for (_, expires_at), reply in zip(timed, replies, strict=True):
            if expires_at <= _parse_time(reply):
                raise past(expires_at)

    # Many entries with their expiries.

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        return dict(self._read_items(keys))

    def _read_items(
        self, keys: Sequence[str], prefix: str | None = None
    ) -> Iterator[tuple[str, Stored]]:
        names = self._names(keys, prefix)
        groups = list(self.servers.groups(names, READ_PAGE))
        calls = [
            (names[group[0]], scripts.evalsha(scripts.READ, [names[i] for i in group]))
            for group in groups
        ]
        for indexes, reply in zip(groups, self.servers.batch(calls, writes=False), strict=True):
            for i, value, expires_at_ms in zip(indexes, reply[::2], reply[1::2], strict=True):
                if value is not None:
                    yield keys[i], Stored(value, _parse_expires_at(expires_at_ms))

    def clock(self) -> datetime:
        replies = [
            raise_for_error(node.run(((b"TIME",),), writes=False)[0], node.name)
            for node in self.servers.primaries()
        ]
        return min(map(_parse_time, replies))

    # The whole store.

    def keys(self, prefix: str) -> Iterator[str]:
        # Not a generator, which would take the cache's prefix of the moment of its first step.
        return chain.from_iterable(self._scan(prefix, self.prefix))

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        return self._scan_items(prefix, self.prefix)

    def _scan_items(self, prefix: str, cache_prefix: str) -> Iterator[tuple[str, Stored]]:
        for page in self._scan(prefix, cache_prefix):
            for start in range(0, len(page), READ_PAGE):
                yield from self._read_items(page[start : start + READ_PAGE], cache_prefix)

    def _scan(self, prefix: str, cache_prefix: str) -> Iterator[list[str]]:
        pattern = _GLOB_SPECIAL.sub(rb"\\\g<0>", (cache_prefix + prefix).encode()) + b"*"
        for page in self.servers.scan(pattern):
            yield [key[len(cache_prefix) :] for key in map(_decode, page) if key is not None]

    # Settings and checks.

    def close(self) -> None:
        self.servers.close()

    def place(self) -> Place:
        return Place(("redis", self.servers.locations), self.prefix)

    def check(self) -> Sequence[CheckMessage]:
        return [
            Warning(
                f"CACHES[{alias!r}] is on the same Redis database as CACHES[{self.alias!r}], "
                "which a store of PERSIST uses: its clear() deletes every entry of that store.",
                hint="Give the store a Redis database, or a server, of its own.",
                id="django_persist.W003",
            )
            for alias in aliases_that_flush(self.servers.locations, excluding=self.alias)
        ]

    def check_deployment(self) -> Iterator[CheckMessage]:
        return check_servers(self.servers, self.alias)

    # Keys as Redis has them.

    def _name(self, key: str) -> bytes:
        return (self.prefix + key).encode()

    def _names(self, keys: Iterable[str], prefix: str | None = None) -> list[bytes]:
        if prefix is None:
            prefix = self.prefix  # Same as _name, inlined for speed.
        return [(prefix + key).encode() for key in keys]


def _decode(name: bytes) -> str | None:
    """Return a Redis key as str, or None if it isn't UTF-8: then it isn't ours."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _to_bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


# Expiries, which Redis takes and replies in milliseconds.


def _milliseconds(lifetime: timedelta) -> int:
    """Return a lifetime in whole milliseconds, rounded up so that it is never 0."""
    return -(-lifetime // MILLISECOND)


def _set_options(lifetime: timedelta | None) -> tuple[Argument, ...]:
    """Return a lifetime as options of SET."""
    return () if lifetime is None else (b"PX", _milliseconds(lifetime))


def _script_expiry(expires: Expiry) -> tuple[Argument, Argument]:
    """Return an expiry as the two arguments that the scripts take."""
    if expires is None:
        return b"", 0
    if isinstance(expires, datetime):
        # Rounded down, so that a moment that has passed never seems to be in the future.
        return b"PXAT", (expires - EPOCH) // MILLISECOND
    return b"PX", _milliseconds(expires)


def _parse_expires_at(milliseconds: int) -> datetime | None:
    """Return PEXPIRETIME's reply for an entry as a datetime, or None for never."""
    return None if milliseconds < 0 else EPOCH + timedelta(milliseconds=milliseconds)


def _parse_time(reply: Sequence[Any]) -> datetime:
    """Return TIME's reply as a datetime."""
    seconds, micros = map(int, reply)
    return EPOCH + timedelta(seconds=seconds, microseconds=micros)


# Errors.


def _is_wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")


def _not_a_string(key: str) -> DecodeError:
    return DecodeError(
        f"The key {key!r} holds another Redis type than a string, so something else wrote it. "
        "set() replaces it, remove() deletes it."
    )
