"""Entries in Redis or Valkey, where a django-redis alias of CACHES says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from django.core.checks import CheckMessage, Warning
from redis.exceptions import ResponseError

from ...exceptions import DecodeError
from ...expiry import Expiry, past
from ..base import COUNTER, Place, Stored, Text, Write
from ..cache import CacheDriver, resolve
from . import expiry as redis_expiry
from . import scripts as scripts
from .checks import check_servers
from .node import checked
from .scripts import Argument, Command
from .servers import PAGE
from .settings import connect, flushing

READ_PAGE = 100
"""How many values a listing holds at a time."""

_SPECIAL = re.compile(rb"[*?\[\]\\^-]")


class RedisDriver(CacheDriver):
    """Keep entries in Redis 7 or later, or Valkey: a single one, behind Sentinel, or a Cluster.

    `cache` is an alias of CACHES with django-redis's backend: it says where, and how to connect.
    Reads go to the primary. On a Cluster `set_many` is all or nothing within each slot only, and
    a listing made while slots change hands can miss or repeat keys that move.
    """

    supports_exact_listings = False  # SCAN's own.

    def __init__(self, cache: str) -> None:
        super().__init__(resolve(cache))
        self.alias = cache
        self.servers = connect(self.cache, cache)
        # Differs by alias: one driver serves a single Redis and a Cluster.
        self.supports_atomic_set_many = self.servers.atomic

    def create(self, key: str, value: bytes, expires: Expiry) -> bool:
        name = self._name(key)
        if isinstance(expires, datetime):
            return self._judged(name, scripts.CREATE, expires, value)
        command = (b"SET", name, value, b"NX", *redis_expiry.lifetime(expires))
        return self.servers.call(name, command, True) is not None

    def set(self, key: str, value: bytes, expires: Expiry, *, keep: bool = False) -> None:
        if isinstance(expires, datetime) or (keep and expires is not None):
            self.set_many([(key, value, expires)], keep=keep)
            return
        name = self._name(key)
        kept = (b"KEEPTTL",) if keep else ()
        self.servers.call(name, (b"SET", name, value, *kept, *redis_expiry.lifetime(expires)), True)

    def get(self, key: str, *, for_update: bool = False) -> Text | None:
        name = self._name(key)
        try:
            text: bytes | None = self.servers.call(name, (b"GET", name), False)
        except ResponseError as error:
            if _wrong_type(error):
                raise _not_text(key) from error
            raise
        return text

    def get_item(self, key: str) -> Stored | None:
        name = self._name(key)
        value, ends = self.servers.call(name, scripts.run(scripts.READ, [name]), False)
        if value is None and ends != -2:
            raise _not_text(key)
        return None if value is None else Stored(value, redis_expiry.moment(ends))

    def contains(self, key: str) -> bool:
        name = self._name(key)
        return bool(self.servers.call(name, (b"EXISTS", name), False))

    def remove(self, key: str) -> bool:
        name = self._name(key)
        return bool(self.servers.call(name, (b"UNLINK", name), True))

    def touch(self, key: str, expires: Expiry) -> bool:
        name = self._name(key)
        if not isinstance(expires, timedelta):
            return self._judged(name, scripts.TOUCH, expires)
        return bool(
            self.servers.call(name, (b"PEXPIRE", name, redis_expiry.milliseconds(expires)), True)
        )

    def incr(self, key: str, by: int, expires: Expiry) -> int | None:
        if by not in COUNTER:
            return None
        name = self._name(key)
        command: Command = (b"INCRBY", name, by)
        if expires is not None:
            command = scripts.run(scripts.INCR, [name], *redis_expiry.expiry(expires), by)
        try:
            total = self.servers.call(name, command, True)
        except ResponseError as error:
            if _wrong_type(error) or "not an integer" in str(error) or "overflow" in str(error):
                return None
            raise
        if total == -1 and command[0] != b"INCRBY":  # A sum would be text.
            assert isinstance(expires, datetime)
            raise past(expires)
        return int(total)

    def replace(
        self, key: str, seen: Text, value: bytes, expires: Expiry, *, keep: bool = False
    ) -> bool:
        name = self._name(key)
        return self._judged(name, scripts.REPLACE, expires, value, int(keep), _bytes(seen))

    def remove_if(self, key: str, seen: Text) -> bool:
        name = self._name(key)
        command = scripts.run(scripts.REMOVE_IF, [name], _bytes(seen))
        return bool(self.servers.call(name, command, True))

    def get_many(self, keys: Sequence[str]) -> list[tuple[str, Text]]:
        found: list[tuple[str, Text]] = []
        for indexes, values in self._grouped(b"MGET", keys, writes=False):
            pairs = zip(map(keys.__getitem__, indexes), values, strict=True)
            found += [pair for pair in pairs if pair[1] is not None]
        return found

    def get_items(self, keys: Sequence[str]) -> dict[str, Stored]:
        return dict(self._read(keys))

    def set_many(self, writes: Sequence[Write], *, keep: bool = False) -> None:
        self._write_many(scripts.SET, writes, keep=keep)

    def create_many(self, writes: Sequence[Write]) -> list[str]:
        replies = self._write_many(scripts.CREATE_MANY, writes)
        return [writes[indexes[i - 1]][0] for indexes, left in replies for i in left]

    def clock(self) -> datetime:
        nodes = self.servers.primaries()
        return min(
            redis_expiry.time(checked(n.run(((b"TIME",),), writes=False)[0], n.name)) for n in nodes
        )

    def _write_many(
        self, script: bytes, writes: Sequence[Write], *, keep: bool = False
    ) -> list[tuple[list[int], Any]]:
        """Run a script that writes, for each slot; return the indexes and the reply of each."""
        names = self._names(key for key, _, _ in writes)
        groups = list(self.servers.groups(names, size=max(1, len(names))))
        if len(groups) > 1:
            self._check_moments(writes, names, groups)
        expiries = {
            expires: redis_expiry.expiry(expires) for expires in set(map(itemgetter(2), writes))
        }
        calls = []
        for indexes in groups:
            args: list[Argument] = [int(keep)]
            for i in indexes:
                _, value, expires = writes[i]
                args += *expiries[expires], value
            group = [names[i] for i in indexes]
            calls.append((group[0], scripts.run(script, group, *args)))
        replies = list(zip(groups, self.servers.batch(calls, True), strict=True))
        for indexes, reply in replies:
            if isinstance(reply, int) and reply < 0:
                _, _, expires = writes[indexes[-reply - 1]]
                assert isinstance(expires, datetime)
                raise past(expires)
        return replies

    def remove_many(self, keys: Sequence[str]) -> int:
        return sum(removed for _, removed in self._grouped(b"UNLINK", keys, writes=True))

    def keys(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix):
            yield from page

    def items(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        for page in self._pages(prefix):
            for start in range(0, len(page), READ_PAGE):
                yield from self._read(page[start : start + READ_PAGE])

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
            for alias in flushing(self.servers.locations, but=self.alias)
        ]

    def check_deployment(self) -> Iterator[CheckMessage]:
        return check_servers(self.servers, self.alias)

    def _check_moments(
        self, writes: Sequence[Write], names: Sequence[bytes], groups: Sequence[list[int]]
    ) -> None:
        """Refuse a moment that has passed before the first of several scripts writes."""
        timed = []
        for indexes in groups:
            moments = [end for i in indexes if isinstance(end := writes[i][2], datetime)]
            if moments:
                timed.append((names[indexes[0]], min(moments)))
        times = self.servers.batch([(name, (b"TIME",)) for name, _ in timed], False)
        for (_, moment), time in zip(timed, times, strict=True):
            if moment <= redis_expiry.time(time):
                raise past(moment)

    def _name(self, key: str) -> bytes:
        return (self.prefix + key).encode()

    def _names(self, keys: Iterable[str]) -> list[bytes]:
        prefix = self.prefix  # without a call of _name for each
        return [(prefix + key).encode() for key in keys]

    def _judged(self, name: bytes, script: bytes, expires: Expiry, *args: Argument) -> bool:
        """Run a script that says 1 or 0, or -1 for a moment that has passed on the server."""
        command = scripts.run(script, [name], *redis_expiry.expiry(expires), *args)
        reply = self.servers.call(name, command, True)
        if reply == -1:
            assert isinstance(expires, datetime)
            raise past(expires)
        return bool(reply)

    def _grouped(
        self, command: bytes, keys: Sequence[str], *, writes: bool
    ) -> Iterator[tuple[list[int], Any]]:
        """Run a command of nothing but keys; yield each reply with the indexes of its keys."""
        names = self._names(keys)
        groups = list(self.servers.groups(names, PAGE))
        calls = [(names[g[0]], (command, *map(names.__getitem__, g))) for g in groups]
        return zip(groups, self.servers.batch(calls, writes), strict=True)

    def _pages(self, prefix: str) -> Iterator[list[str]]:
        pattern = _SPECIAL.sub(rb"\\\g<0>", self._name(prefix)) + b"*"
        for page in self.servers.scan(pattern):
            yield [key[len(self.prefix) :] for key in map(_decoded, page) if key is not None]

    def _read(self, keys: Sequence[str]) -> Iterator[tuple[str, Stored]]:
        names = self._names(keys)
        groups = list(self.servers.groups(names, READ_PAGE))
        calls = [(names[g[0]], scripts.run(scripts.READ, [names[i] for i in g])) for g in groups]
        for indexes, reply in zip(groups, self.servers.batch(calls, False), strict=True):
            for i, value, ends in zip(indexes, reply[::2], reply[1::2], strict=True):
                if value is not None:  # Gone since it was listed.
                    yield keys[i], Stored(value, redis_expiry.moment(ends))


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _decoded(name: bytes) -> str | None:
    """Return a key, or None for one that no str of ours makes."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")


def _not_text(key: str) -> DecodeError:
    return DecodeError(
        f"The key {key!r} holds another Redis type than a string: "
        "something else wrote it. set() replaces it, remove() deletes it."
    )
