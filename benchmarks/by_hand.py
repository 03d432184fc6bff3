"""The floor of the database driver: its own statements, written into code by hand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from django.db import connections

from django_persist.drivers.sql import CANONICAL, Statements, statements
from django_persist.expiry import now

from .contenders import Change, Contender
from .servers import LIFETIME

to_text = msgspec.json.Encoder().encode
from_text = msgspec.json.Decoder().decode

MICROSECONDS = LIFETIME * 1_000_000
LOW, HIGH = -(2**63), 2**63 - 2  # to which 1 can be added
LAST_CHARACTER = "\U0010ffff"


class ByHand(Contender):
    remarks = {
        "pop": "no second try where another was faster",
        "update": "no second try where another was faster",
    }

    def __init__(self, using: str) -> None:
        self.using = using
        self.sql = self.statements()

    def statements(self) -> Statements:
        return statements(connections[self.using])

    def rows(self, number: int) -> str:
        """Return the VALUES of `set_many`."""
        return self.sql.rows(number)

    @abstractmethod
    def cursor(self) -> AbstractContextManager[Any]:
        """Return a new cursor."""

    def get(self, key: str) -> Any:
        with self.cursor() as cursor:
            cursor.execute(self.sql.get, {"key": key})
            row = cursor.fetchone()
        if row is None or (row[1] is not None and row[1] <= now()):
            return None
        return from_text(row[0])

    def set(self, key: str, value: Any) -> None:
        params = {"key": key, "value": to_text(value).decode(), "expires": now() + MICROSECONDS}
        with self.cursor() as cursor:
            cursor.execute(self.sql.set, params)

    def create(self, key: str, value: Any) -> bool:
        text, moment = to_text(value).decode(), now()
        params = {"key": key, "value": text, "expires": moment + MICROSECONDS, "now": moment}
        with self.cursor() as cursor:
            cursor.execute(self.sql.create, params)
            return self.sql.created(cursor)

    def incr(self, key: str) -> int:
        moment = now()
        params = {
            "key": key,
            "start": "1",
            "by": 1,
            "low": LOW,
            "high": HIGH,
            "canonical": CANONICAL,
            "expires": moment + MICROSECONDS,
            "now": moment,
        }
        with self.cursor() as cursor:
            cursor.execute(self.sql.incr, params)
            total = self.sql.counted(cursor, 1)
        assert total is not None
        return total

    def pop(self, key: str) -> Any:
        with self.cursor() as cursor:
            cursor.execute(self.sql.get, {"key": key})
            [text, _] = cursor.fetchone()
        value = from_text(text)
        with self.cursor() as cursor:
            cursor.execute(self.sql.remove_if, {"key": key, "seen": text, "now": now()})
            return value if cursor.rowcount else None

    def update(self, key: str, change: Change) -> Any:
        with self.cursor() as cursor:
            cursor.execute(self.sql.get, {"key": key})
            [seen, _] = cursor.fetchone()
        value = change(from_text(seen))
        params = {"key": key, "value": to_text(value).decode(), "seen": seen, "now": now()}
        with self.cursor() as cursor:
            cursor.execute(self.sql.replace_keep, params)
            return value if cursor.rowcount else None

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        params = {"keys": self.sql.keys_parameter(sorted(keys)), "now": now()}
        with self.cursor() as cursor:
            cursor.execute(self.sql.get_many, params)
            return {key: from_text(text) for key, text in cursor.fetchall()}

    def set_many(self, mapping: dict[str, Any]) -> None:
        moment = now()
        params: dict[str, Any] = {"now": moment}
        for i, (key, value) in enumerate(sorted(mapping.items())):
            params[f"k{i}"] = key
            params[f"v{i}"] = to_text(value).decode()
            params[f"e{i}"] = moment + MICROSECONDS
        with self.cursor() as cursor:
            cursor.execute(self.sql.set_many.replace("%(rows)s", self.rows(len(mapping))), params)

    def remove_many(self, keys: list[str]) -> None:
        params = {"keys": self.sql.keys_parameter(sorted(keys)), "now": now()}
        with self.cursor() as cursor:
            cursor.execute(self.sql.remove_many, params)

    def keys(self, prefix: str) -> Iterable[str]:
        last = prefix + LAST_CHARACTER
        params = {"first": prefix, "end": last, "now": now(), "limit": 1_000_000}
        with self.cursor() as cursor:
            cursor.execute(self.sql.keys, params)
            return [key for (key,) in cursor.fetchall()]


class ThroughDjango(ByHand):
    name = "Django's cursor"

    def cursor(self) -> AbstractContextManager[Any]:
        return connections[self.using].cursor()
