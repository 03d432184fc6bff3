"""The stored text of an entry. It may be several megabytes, or not even JSON."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, IntegerField
from django.db.models.sql.compiler import SQLCompiler
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from .. import codec
from ..drivers.base import Text
from ..exceptions import DecodeError
from ..expiry import now, to_micros
from ..models import Entry

MAX_EDITABLE_CHARS: Final = 1024 * 1024
"""The longest text that can be edited in the form."""

FORM_BYTES: Final = 8192
"""More bytes than a submitted form takes in addition to the value."""

SHORT_CHARS: Final = 200
"""How many characters of a value the list shows."""


class ValueSize(Func):
    """The length of the stored text in bytes of UTF-8."""

    function = "OCTET_LENGTH"

    def __init__(self) -> None:
        super().__init__(F("value"), output_field=IntegerField())

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        # SQLite has OCTET_LENGTH only since version 3.43.
        template = "LENGTH(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **context)


class StoredText:
    """The stored text of a value, or the beginning of a long one."""

    def __init__(self, raw: Text, size: int) -> None:
        self.raw = raw
        """The text as the database returns it, for comparisons in SQL."""
        self.size = size
        """The length of the whole text in bytes."""
        self.encoded = raw if isinstance(raw, bytes) else raw.encode()

    @classmethod
    def of(cls, entry: Entry) -> StoredText | None:
        """Return the text of an entry from a query with RawValue and ValueSize.

        Returns None for an entry that is not in the database.
        """
        row = vars(entry)
        if "stored" not in row:
            # SQLite returns NULL for the beginning of an empty blob.
            raw = b"" if row.get("raw") is None else row["raw"]
            row["stored"] = cls(raw, row["size"]) if "raw" in row else None
        found: StoredText | None = row["stored"]
        return found

    @property
    def is_whole(self) -> bool:
        return len(self.encoded) == self.size

    @cached_property
    def is_corrupt(self) -> bool:
        """Whether the text is not JSON. Always False if only the beginning is known."""
        if not self.is_whole:
            return False
        try:
            codec.decode(self.encoded, key="")
        except DecodeError:
            return True
        return False

    @cached_property
    def pretty(self) -> str:
        """The text indented for reading and editing, with numbers and escapes as stored."""
        if self.is_corrupt or not self.is_whole:
            return self.encoded.decode(errors="replace")
        return msgspec.json.format(self.encoded, indent=2).decode()

    @cached_property
    def why_read_only(self) -> str:
        """Why the text doesn't fit into a form, or the form into a request; "" if it does."""
        if not self.is_whole or len(self.pretty) > MAX_EDITABLE_CHARS:
            message = _("The value is too large to be edited here: it has over %s characters.")
            return message % number_format(MAX_EDITABLE_CHARS, force_grouping=True)
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        submitted = quote_plus(self.pretty.replace("\n", "\r\n"))
        if limit is None or len(submitted) + FORM_BYTES < limit:
            return ""
        return _(
            "The value is too large to be edited here: its form would exceed the %s of the "
            "setting DATA_UPLOAD_MAX_MEMORY_SIZE."
        ) % filesizeformat(limit)

    @property
    def can_be_edited(self) -> bool:
        return not self.why_read_only

    @property
    def short(self) -> str:
        """The first characters, for the list."""
        text = self.encoded[: 4 * SHORT_CHARS].decode(errors="replace")
        return text if len(text) <= SHORT_CHARS else text[: SHORT_CHARS - 1] + "…"


def has_expired(expires_at: datetime | None) -> bool:
    return expires_at is not None and to_micros(expires_at) <= now()


def version(entry: Entry) -> str:
    """Return a digest that changes if the value or expiry changes, or the entry expires."""
    stored = StoredText.of(entry)
    if stored is None:
        return ""
    digest = hashlib.sha256(stored.encoded)
    digest.update(f"|{stored.size}|{entry.expires_at}|{has_expired(entry.expires_at)}".encode())
    return digest.hexdigest()
