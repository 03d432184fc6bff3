"""What a row of the table holds, read without trust: it may be megabytes, or no JSON at all."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, IntegerField, TextField
from django.db.models.sql.compiler import SQLCompiler

from .. import codec
from ..drivers.base import Text
from ..exceptions import DecodeError
from ..expiry import now, to_micros
from ..models import Entry

EDITED: Final = 1024 * 1024
"""How many characters of a value a form can hold."""

FORM: Final = 8192
"""More bytes than a form takes beside its value."""

SHORT: Final = 80
"""How many characters of a value a list shows."""


class Raw(Func):
    """The text of the values as it is, or its beginning.

    As bytes on SQLite, as the driver reads it: so that a text that isn't UTF-8 is read too.
    """

    template = "%(expressions)s"
    cut = "SUBSTR(%(expressions)s, 1, %(characters)s)"

    def __init__(self, characters: int | None = None) -> None:
        extra: dict[str, Any] = {}
        if characters is not None:
            extra = {"template": self.cut, "characters": characters}
        super().__init__(F("value"), output_field=TextField(), **extra)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        template = self.extra.get("template", self.template)
        blob = template.replace("%(expressions)s", "CAST(%(expressions)s AS BLOB)")
        return self.as_sql(compiler, connection, **{**context, "template": blob})


class Size(Func):
    """The bytes of the values' text in UTF-8."""

    function = "OCTET_LENGTH"

    def __init__(self) -> None:
        super().__init__(F("value"), output_field=IntegerField())

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        # OCTET_LENGTH is there from SQLite 3.43 on.
        template = "LENGTH(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **context)


class Stored:
    """The stored text of a value, or the beginning of a long one."""

    def __init__(self, seen: Text, size: int) -> None:
        self.seen = seen
        """As the server hands it out: what a statement compares with."""
        self.size = size
        self.encoded = seen if isinstance(seen, bytes) else seen.encode()

    @classmethod
    def of(cls, entry: Entry) -> Stored | None:
        """Return what a query with `Raw` and `Size` has found; None where there is no row."""
        row = vars(entry)
        if "stored" not in row:
            # The beginning of an empty blob is NULL to SQLite.
            seen = b"" if row.get("raw") is None else row["raw"]
            row["stored"] = cls(seen, row["size"]) if "raw" in row else None
        found: Stored | None = row["stored"]
        return found

    @property
    def is_whole(self) -> bool:
        return len(self.encoded) == self.size

    @cached_property
    def is_corrupt(self) -> bool:
        """Whether it can't be read; of a beginning nobody can tell."""
        if not self.is_whole:
            return False
        try:
            codec.decode(self.encoded, key="")
        except DecodeError:
            return True
        return False

    @cached_property
    def pretty(self) -> str:
        """The text to read and to edit: with each number and escape as it is stored."""
        if self.is_corrupt or not self.is_whole:
            return self.encoded.decode(errors="replace")
        return msgspec.json.format(self.encoded, indent=2).decode()

    @cached_property
    def can_be_edited(self) -> bool:
        """Whether it fits into a form, and the form into what Django takes."""
        if not self.is_whole or len(self.pretty) > EDITED:
            return False
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        sent = quote_plus(self.pretty.replace("\n", "\r\n"))
        return limit is None or len(sent) + FORM < limit

    @property
    def short(self) -> str:
        """One line of it."""
        text = self.encoded[: 4 * SHORT].decode(errors="replace")
        return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def has_expired(ends: datetime | None) -> bool:
    return ends is not None and to_micros(ends) <= now()


def version(entry: Entry) -> str:
    """Return what tells whether an entry is still what it was: value, expiry, and alive or not."""
    stored = Stored.of(entry)
    if stored is None:
        return ""
    digest = hashlib.sha256(stored.encoded)
    digest.update(f"|{stored.size}|{entry.expires_at}|{has_expired(entry.expires_at)}".encode())
    return digest.hexdigest()
