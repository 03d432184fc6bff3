"""The baseline of the Redis driver: redis-py with msgspec, and the driver's own scripts."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from threading import local
from typing import Any
from urllib.parse import urlsplit

import hiredis
import msgspec
import redis

from django_persist.drivers.redis import scripts

from ..contenders import Change, Contender
from ..servers import LIFETIME

to_text = msgspec.json.Encoder().encode
from_text = msgspec.json.Decoder().decode

MILLISECONDS = LIFETIME * 1000
INCR = scripts.INCR.decode()
REMOVE_IF = scripts.REMOVE_IF.decode()
REPLACE = scripts.REPLACE.decode()


class RedisPy(Contender):
    """redis-py's client, with a prefix for every key."""

    name = "redis-py"
    remarks = {
        "pop": "not tried again if another caller was faster",
        "update": "not tried again if another caller was faster",
        "set_many": "MULTI, SET for each key",
    }

    def __init__(self, url: str, prefix: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        self.prefix = prefix
        for text in scripts.TEXTS.values():
            self.client.script_load(text)

    def get(self, key: str) -> Any:
        text = self.client.get(self.prefix + key)
        return None if text is None else from_text(text)

    def set(self, key: str, value: Any) -> None:
        self.client.set(self.prefix + key, to_text(value), px=MILLISECONDS)

    def create(self, key: str, value: Any) -> bool:
        return bool(self.client.set(self.prefix + key, to_text(value), px=MILLISECONDS, nx=True))

    def incr(self, key: str) -> int:
        return int(self.client.evalsha(INCR, 1, self.prefix + key, "PX", MILLISECONDS, 1))

    def pop(self, key: str) -> Any:
        name = self.prefix + key
        text = self.client.get(name)
        value = from_text(text)
        return value if self.client.evalsha(REMOVE_IF, 1, name, text) else None

    def update(self, key: str, change: Change) -> Any:
        name = self.prefix + key
        seen = self.client.get(name)
        value = change(from_text(seen))
        done = self.client.evalsha(REPLACE, 1, name, "", 0, to_text(value), 1, seen)
        return value if done else None

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        texts = self.client.mget([self.prefix + key for key in keys])
        return {key: from_text(text) for key, text in zip(keys, texts, strict=True) if text}

    def set_many(self, mapping: dict[str, Any]) -> None:
        pipeline = self.client.pipeline(transaction=True)
        for key, value in mapping.items():
            pipeline.set(self.prefix + key, to_text(value), px=MILLISECONDS)
        pipeline.execute()

    def remove_many(self, keys: list[str]) -> None:
        self.client.unlink(*(self.prefix + key for key in keys))

    def keys(self, prefix: str) -> Iterable[str]:
        names = self.client.scan_iter(match=f"{self.prefix}{prefix}*", count=1000)
        return [name.decode()[len(self.prefix) :] for name in names]


class BareSocket(local, RedisPy):
    """The calls that `--cpu` measures: the floor, as little as it takes to send a command.

    Each thread has a socket of its own.
    """

    name = "hiredis on a socket"

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 6379))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader()
        self.run("SELECT", parts.path.strip("/") or "0")

    def run(self, *command: Any) -> Any:
        self.socket.sendall(hiredis.pack_command(command))
        while (reply := self.reader.gets()) is False:
            self.reader.feed(self.socket.recv(65536))
        if isinstance(reply, Exception):
            raise reply
        return reply

    def get(self, key: str) -> Any:
        text = self.run("GET", self.prefix + key)
        return None if text is None else from_text(text)

    def set(self, key: str, value: Any) -> None:
        self.run("SET", self.prefix + key, to_text(value), "PX", MILLISECONDS)

    def create(self, key: str, value: Any) -> bool:
        command = "SET", self.prefix + key, to_text(value), "PX", MILLISECONDS, "NX"
        return self.run(*command) is not None

    def incr(self, key: str) -> int:
        return int(self.run("EVALSHA", INCR, 1, self.prefix + key, "PX", MILLISECONDS, 1))

    def close(self) -> None:
        self.socket.close()
