"""A digest of what a request sent, in bounded memory, that leaves the body for the view to read."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

CHUNK: Final = 64 * 1024


class BodyTooLargeError(Exception):
    """The body has more bytes than allowed."""


def digest_of_request(request: HttpRequest, max_bytes: int) -> str:
    """Return a digest of a request's query, content type and encoding, and body.

    The body counts byte for byte, except for the boundary of a multipart body, which most clients
    choose each time they send a form. If a middleware has parsed a multipart body already (as
    CsrfViewMiddleware does), its fields and the content of its files count instead.

    Raises BodyTooLargeError if the body has more than `max_bytes`.
    """
    attributes: Any = request
    digest = sha256()
    parameters = dict(request.content_params or {})
    boundary = parameters.pop("boundary", "")
    query, encoding = (request.META.get(f, "") for f in ("QUERY_STRING", "HTTP_CONTENT_ENCODING"))
    sent = (query, encoding, request.content_type, sorted(parameters.items()))
    digest.update(repr(sent).encode())
    with suppress(ValueError):  # Django, too, reads on if the length isn't a number.
        if int(request.META.get("CONTENT_LENGTH") or 0) > max_bytes:
            raise BodyTooLargeError
    if not attributes._read_started:
        chunks = _spool(request, max_bytes)
    elif hasattr(request, "_files") and not hasattr(request, "_body"):
        digest.update(b"parsed")
        chunks = _parsed(request)
    else:
        chunks = iter((request.body,))  # Raises RawPostDataException if it has been read in part.
    if boundary and (request.content_type or "").startswith("multipart/"):
        chunks = _without(chunks, b"--" + boundary.encode(errors="replace"))
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _spool(request: HttpRequest, max_bytes: int) -> Iterator[bytes]:
    """Yield the body while copying it to a file, from which the request is read afterwards.

    What is larger than FILE_UPLOAD_MAX_MEMORY_SIZE goes to the disk.
    """
    attributes: Any = request
    spool = SpooledTemporaryFile(  # noqa: SIM115 (closed with the request)
        max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=settings.FILE_UPLOAD_TEMP_DIR
    )
    weakref.finalize(request, spool.close)
    size = 0
    while chunk := request.read(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLargeError
        spool.write(chunk)
        yield chunk
    spool.seek(0)
    attributes._stream.close()
    attributes._stream, attributes._read_started = spool, False


def _parsed(request: HttpRequest) -> Iterator[bytes]:
    """Yield what a multipart body was parsed to. Each part is preceded by its name and size."""
    for name, values in request.POST.lists():
        yield repr((name, values)).encode()
    for name, files in request.FILES.lists():
        for file in files:
            yield repr((name, file.name, file.content_type, file.charset, file.size)).encode()
            yield from file.chunks()
            file.seek(0)


def _without(chunks: Iterator[bytes], delimiter: bytes) -> Iterator[bytes]:
    """Yield the chunks without the delimiter, wherever they were cut."""
    rest = b""
    for chunk in chunks:
        rest = (rest + chunk).replace(delimiter, b"--")
        # The rest may end with the beginning of another delimiter.
        cut = max(len(rest) - len(delimiter) + 1, 0)
        yield rest[:cut]
        rest = rest[cut:]
    yield rest
