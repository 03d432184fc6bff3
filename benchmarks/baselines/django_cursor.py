"""The baseline of the database driver: its own statements, sent with Django's cursor."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any

import msgspec
from django.db import connections

from django_persist.drivers.database.connection import Connection
from django_persist.drivers.database.statements import statements
from django_persist.drivers.database.statements.postgresql import SEPARATOR, PostgreSQL, array
from django_persist.drivers.database.statements.rows import with_placeholders
from django_persist.expiry import now

from ..contenders import Change, Contender
from ..servers import LIFETIME

NAMED = re.compile(r"%\((\w+)\)s")
Order = Callable[[Mapping[str, Any]], Sequence[Any]]

to_text = msgspec.json.Encoder().encode
from_text = msgspec.json.Decoder().decode

MICROSECONDS = LIFETIME * 1_000_000
INCR = {"start": "1", "by": 1, "low": -(2**63), "high": 2**63 - 2}
LAST_CHARACTER = "\U0010ffff"


class Statements(Contender):
    """The driver's statements with positional parameters, as in Django's documentation."""

    placeholder = "%s"
    remarks = {
        "pop": "not tried again if another caller was faster",
        "update": "not tried again if another caller was faster",
    }

    def __init__(self, using: str) -> None:
        self.using = using
        with connections[using].cursor() as cursor:
            self.sql = statements(Connection(using), cursor)
        self._positional: dict[str, tuple[str, Order]] = {}

    @abstractmethod
    def cursor(self) -> AbstractContextManager[Any]:
        """Return a new cursor."""

    def execute(self, cursor: Any, statement: str, params: dict[str, Any]) -> None:
        try:
            text, order = self._positional[statement]
        except KeyError:
            text, order = self._positional[statement] = self._with_positions(statement)
        cursor.execute(text, order(params))

    def _with_positions(self, statement: str) -> tuple[str, Order]:
        """Return the statement with a placeholder per parameter, and a getter of their values."""
        first, *others = NAMED.findall(statement)
        text = NAMED.sub(self.placeholder, statement)
        return text, itemgetter(first, *others) if others else lambda params: [params[first]]

    def get(self, key: str) -> Any:
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.get, {"key": key})
            row = cursor.fetchone()
        if row is None or (row[1] is not None and row[1] <= now()):
            return None
        return from_text(row[0])

    def set(self, key: str, value: Any) -> None:
        params = {"key": key, "value": to_text(value).decode(), "expires": now() + MICROSECONDS}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.set, params)

    def create(self, key: str, value: Any) -> bool:
        text, started = to_text(value).decode(), now()
        params = {"key": key, "value": text, "expires": started + MICROSECONDS, "now": started}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.create, params)
            return self.sql.created(cursor)

    def incr(self, key: str) -> int:
        started = now()
        params = {
            **INCR,
            **self.sql.incr_constants,
            "key": key,
            "expires": started + MICROSECONDS,
            "now": started,
        }
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.incr, params)
            total = self.sql.counted(cursor, 1)
        assert total is not None
        return total

    def pop(self, key: str) -> Any:
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.get, {"key": key})
            [text, _] = cursor.fetchone()
        value = from_text(text)
        with self.cursor() as cursor:
            params = {"key": key, "seen": text, "now": now()}
            self.execute(cursor, self.sql.remove_if, params)
            return value if cursor.rowcount else None

    def update(self, key: str, change: Change) -> Any:
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.get, {"key": key})
            [seen, _] = cursor.fetchone()
        value = change(from_text(seen))
        params = {"key": key, "value": to_text(value).decode(), "seen": seen, "now": now()}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.replace_keep, params)
            return value if cursor.rowcount else None

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        params = {"keys": self.sql.keys_parameter(keys), "now": now()}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.get_many, params)
            return {key: from_text(text) for key, text in cursor.fetchall()}

    def set_many(self, mapping: dict[str, Any]) -> None:
        expires_at = now() + MICROSECONDS
        params: Any
        if isinstance(self.sql, PostgreSQL):
            items = sorted(mapping.items())
            params = {
                "keys": array([key for key, _ in items]),
                "values": SEPARATOR.join([to_text(value) for _, value in items]).decode(),
                "separator": SEPARATOR.decode(),
                "expires_at": f"{{{','.join([str(expires_at)] * len(items))}}}",
            }
        else:
            # Where one writer at a time has the whole database, the order doesn't matter.
            pairs = mapping.items() if self.sql.excludes_writers else sorted(mapping.items())
            params = []
            for key, value in pairs:
                params += key, to_text(value).decode(), expires_at
        statement = with_placeholders(self.sql.set_rows, len(mapping)).replace(
            "%s", self.placeholder
        )
        with self.cursor() as cursor:
            cursor.execute(statement, params)

    def remove_many(self, keys: list[str]) -> None:
        params = {"keys": self.sql.keys_parameter(sorted(keys)), "now": now()}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.remove_many, params)

    def keys(self, prefix: str) -> Iterable[str]:
        last = prefix + LAST_CHARACTER
        params = {"first": prefix, "end": last, "now": now(), "limit": 1_000_000}
        with self.cursor() as cursor:
            self.execute(cursor, self.sql.keys, params)
            return [key for (key,) in cursor.fetchall()]


class DjangoCursor(Statements):
    name = "Django's cursor"

    def cursor(self) -> AbstractContextManager[Any]:
        return connections[self.using].cursor()
