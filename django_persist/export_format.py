"""The file format of an export: JSON lines with a header and a footer.

    {"django_persist":{"format":1,"exported_at":"2026-11-24T18:00:00+00:00"}}
    {"key":"cart:4","expires_at":"2026-12-01T12:00:00+00:00","value":{"items":[]}}
    {"end":{"entries":1,"left_out":0}}

A value is the stored text itself. The footer counts the entries; a file without it was cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import BinaryIO, Final

import msgspec

from . import codec
from .codec import from_text, to_text
from .exceptions import DecodeError
from .expiry import from_micros, now
from .transfer import Record, Tally, one_line

FORMAT: Final = 1

LINE_BYTES: Final = 8192
"""More bytes than a line takes in addition to its value."""


class NotAnExportError(ValueError):
    """The file is not an export, or not all of one. Nothing was taken from it."""


class About(msgspec.Struct):
    format: int


class Header(msgspec.Struct):
    django_persist: About


class Line(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    value: msgspec.Raw
    expires_at: datetime | None = None


class Counts(msgspec.Struct):
    entries: int


class Footer(msgspec.Struct):
    end: Counts


_parse_header: Final = msgspec.json.Decoder(Header).decode
_parse_line: Final = msgspec.json.Decoder(Line).decode
_parse_footer: Final = msgspec.json.Decoder(Footer).decode

_PARSE_ERRORS: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


def dump(records: Iterable[Record], tally: Tally) -> Iterator[bytes]:
    """Yield the lines of an export. Counts records as stored, and corrupt ones as refused."""
    about = {"format": FORMAT, "exported_at": from_micros(now())}
    yield to_text({"django_persist": about}) + b"\n"
    for record in records:
        try:
            codec.decode(record.value, key=record.key)
        except DecodeError as error:
            tally.refuse(str(error))
            continue
        expires_at = b"null" if record.expires_at is None else to_text(record.expires_at)
        yield b'{"key":%b,"expires_at":%b,"value":%b}\n' % (
            to_text(record.key),
            expires_at,
            one_line(record.value),
        )
        tally.stored += 1
    yield to_text({"end": {"entries": tally.stored, "left_out": tally.refused}}) + b"\n"


def load(
    file: BinaryIO, tally: Tally, *, max_value_bytes: int, partial: bool = False
) -> Iterator[Record]:
    """Yield the records of an export. After the last one, `tally.fault` says if it was incomplete.

    A line that is not a record counts as refused and is reported by its number. A line too long for
    a value of `max_value_bytes` is skipped without reading it into memory. With `partial` the
    header and the footer may be missing. Raises NotAnExportError at the first line.
    """
    found, expected, is_first = 0, None, True
    for number, text in _lines(file, max_value_bytes + LINE_BYTES):
        if is_first:
            is_first = False
            if _is_header(text, partial=partial):
                continue
        if expected is not None:
            tally.refuse(f"Line {number} comes after the last line of an export.")
            continue
        expected = _footer_count(text)
        if expected is None:
            found += 1
            record = _record(number, text, tally)
            if record is not None:
                yield record
    if partial:
        return
    if expected is None:
        tally.fault = "The last line of an export is missing: the input was cut off."
    elif expected != found:
        tally.fault = f"The last line counts {expected:,} entries, but there were {found:,}."


def check_end(file: BinaryIO) -> None:
    """Raise NotAnExportError if a seekable file doesn't end with a footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LINE_BYTES))
    lines = file.read().splitlines()
    file.seek(0)
    if not lines or _footer_count(lines[-1]) is None:
        raise NotAnExportError(
            "The last line of an export is missing: the file was cut off or is not an export. "
            "Use --partial to import the lines that are there."
        )


def _lines(file: BinaryIO, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number and text of each line that is not blank; None for one that is too long."""
    number = 0
    while line := file.readline(max_bytes):
        number += 1
        if len(line) < max_bytes or line.endswith(b"\n"):
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(max_bytes)
        yield number, None


def _is_header(text: bytes | None, *, partial: bool) -> bool:
    """Return whether the line is a header. Raises NotAnExportError if it must be, and isn't."""
    try:
        about = _parse_header(text or b"").django_persist
    except _PARSE_ERRORS:
        if partial:
            return False
        raise NotAnExportError(
            "The first line is not that of an export of django_persist. "
            "Use --partial to import lines without it."
        ) from None
    if about.format != FORMAT:
        raise NotAnExportError(
            f"The file has format {about.format}, but this version reads format {FORMAT}."
        )
    return True


def _footer_count(text: bytes | None) -> int | None:
    """Return how many entries the footer counts, or None if the line is not a footer."""
    if text is None or not text.startswith(b'{"end":'):
        return None
    try:
        return _parse_footer(text).end.entries
    except _PARSE_ERRORS:
        return None


def _record(number: int, text: bytes | None, tally: Tally) -> Record | None:
    """Return the record of a line, or count the line as refused and return None."""
    if text is None:
        tally.refuse(f"Line {number} is too long: see MAX_VALUE_BYTES and --max-value-bytes.")
        return None
    try:
        line = _parse_line(text)
        return Record(line.key, bytes(line.value), line.expires_at, number)
    except _PARSE_ERRORS:
        pass
    try:
        from_text(text)
    except _PARSE_ERRORS:
        tally.refuse(f"Line {number} is not valid JSON.")
    else:
        tally.refuse(f"Line {number} is not an entry, which has a key, a value and expires_at.")
    return None
