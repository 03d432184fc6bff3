"""The file of an export: JSON lines, the first of which says what it is, the last how many.

    {"django_persist":{"format":1,"exported_at":"2026-11-24T18:00:00+00:00"}}
    {"key":"cart:4","expires_at":"2026-12-01T12:00:00+00:00","value":{"items":[]}}
    {"end":{"entries":1,"left_out":0}}

A value is the stored text itself. A file without its last line was cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import BinaryIO, Final

import msgspec

from . import codec
from .codec.text import from_text, to_text
from .exceptions import DecodeError
from .expiry import from_micros, now
from .transfer import Entry, Tally, one_line

FORMAT: Final = 1

LINE_BYTES: Final = 8192
"""More than a line takes beside its value."""


class NotAnExportError(ValueError):
    """The file can't be the whole of an export; nothing of it was taken."""


class Format(msgspec.Struct):
    format: int


class First(msgspec.Struct):
    django_persist: Format


class Line(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    value: msgspec.Raw
    expires_at: datetime | None = None


class Counts(msgspec.Struct):
    entries: int


class Last(msgspec.Struct):
    end: Counts


_first: Final = msgspec.json.Decoder(First).decode
_line: Final = msgspec.json.Decoder(Line).decode
_last: Final = msgspec.json.Decoder(Last).decode

_MISFITS: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


def dump(entries: Iterable[Entry], tally: Tally) -> Iterator[bytes]:
    """Yield the lines of an export; count entries as stored, corrupt ones as refused."""
    about = {"format": FORMAT, "exported_at": from_micros(now())}
    yield to_text({"django_persist": about}) + b"\n"
    for entry in entries:
        try:
            codec.decode(entry.value, key=entry.key)
        except DecodeError as error:
            tally.refuse(str(error))
            continue
        expires_at = b"null" if entry.expires_at is None else to_text(entry.expires_at)
        yield b'{"key":%b,"expires_at":%b,"value":%b}\n' % (
            to_text(entry.key),
            expires_at,
            one_line(entry.value),
        )
        tally.stored += 1
    yield to_text({"end": {"entries": tally.stored, "left_out": tally.refused}}) + b"\n"


def load(file: BinaryIO, tally: Tally, *, longest: int, partial: bool = False) -> Iterator[Entry]:
    """Yield the entries of an export; at its end `tally` says if it was not whole.

    A line that is no entry is counted as refused, and told by its number. `longest` is that of a
    value in bytes. With `partial` the first and the last line may be missing. Raises
    NotAnExportError at the first line.
    """
    lines = _lines(file, longest + LINE_BYTES)
    found, counted, begun = 0, None, False
    for number, text in lines:
        if not begun:
            begun = True
            if _is_first(text, partial=partial):
                continue
        if counted is not None:
            tally.refuse(f"Line {number} stands after the last line of an export.")
            continue
        counted = _counted(text)
        if counted is None:
            found += 1
            entry = _entry(number, text, tally)
            if entry is not None:
                yield entry
    if partial:
        return
    if counted is None:
        tally.fault = "The last line of an export is missing: the input was cut off."
    elif counted != found:
        tally.fault = f"The last line speaks of {counted:,} entries; there were {found:,}."


def check_end(file: BinaryIO) -> None:
    """Raise NotAnExportError where a file that can be sought in lacks its last line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LINE_BYTES))
    lines = file.read().splitlines()
    file.seek(0)
    if not lines or _counted(lines[-1]) is None:
        raise NotAnExportError(
            "The last line of an export is missing: the file was cut off, or is none. "
            "--partial takes what is there."
        )


def _lines(file: BinaryIO, longest: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines with their numbers; None for one that is too long, blank ones not at all."""
    number = 0
    while line := file.readline(longest):
        number += 1
        if len(line) < longest or line.endswith(b"\n"):
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(longest)
        yield number, None


def _is_first(text: bytes | None, *, partial: bool) -> bool:
    try:
        about = _first(text or b"").django_persist
    except _MISFITS:
        if partial:
            return False
        raise NotAnExportError(
            "The first line is not that of an export of django_persist. "
            "--partial takes lines without it."
        ) from None
    if about.format != FORMAT:
        raise NotAnExportError(
            f"The file is of the format {about.format}; this version reads {FORMAT}."
        )
    return True


def _counted(text: bytes | None) -> int | None:
    """Return how many entries the last line says that there are; None for any other line."""
    if text is None or not text.startswith(b'{"end":'):
        return None
    try:
        return _last(text).end.entries
    except _MISFITS:
        return None


def _entry(number: int, text: bytes | None, tally: Tally) -> Entry | None:
    if text is None:
        tally.refuse(f"Line {number} is longer than that of any value that the store takes.")
        return None
    try:
        line = _line(text)
        return Entry(line.key, bytes(line.value), line.expires_at, number)
    except _MISFITS:
        pass
    try:
        from_text(text)
    except _MISFITS:
        tally.refuse(f"Line {number} is not JSON that can be read.")
    else:
        tally.refuse(f"Line {number} is no entry: one has a key, a value and expires_at.")
    return None
