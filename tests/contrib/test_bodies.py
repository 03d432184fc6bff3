"""The digest of a request: what was sent counts, and the view can still read it."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException
from django.test import RequestFactory
from django.test.client import encode_multipart

from django_persist.contrib._bodies import CHUNK, BodyTooLargeError, _without, digest_of_request

MOST = 1024 * 1024
MULTIPART = "multipart/form-data; boundary="


def digest(request: HttpRequest, max_bytes: int = MOST) -> str:
    return digest_of_request(request, max_bytes)


def make(body: bytes = b"", kind: str = "", method: str = "POST", **more: Any) -> HttpRequest:
    return RequestFactory().generic(method, "/", body, kind, CONTENT_TYPE=kind, **more)


def form(boundary: str = "b", method: str = "POST", **fields: Any) -> HttpRequest:
    return make(encode_multipart(boundary, fields), MULTIPART + boundary, method)


def upload(content: bytes, name: str = "a.txt", kind: str = "text/plain") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, kind)


def parsed(request: HttpRequest) -> HttpRequest:
    """Read the form, as CsrfViewMiddleware does."""
    with suppress(MultiPartParserError):
        _ = request.POST
    return request


DIFFERENT: list[Callable[[], HttpRequest]] = [
    make,
    lambda: make(b"a", "text/plain"),
    lambda: make(b"b", "text/plain"),
    lambda: make(b"a", "application/json"),
    lambda: make(b"a", "text/plain; charset=latin-1"),
    lambda: make(b"a", "text/plain", QUERY_STRING="a=1"),
    lambda: make(b"a", "text/plain", HTTP_CONTENT_ENCODING="gzip"),
    lambda: make(b"a" * 3 * CHUNK, "text/plain"),
    lambda: make(b"", MULTIPART + "b"),
    lambda: make(b"nothing that parses", MULTIPART + "b"),
    lambda: make(b"nothing that parses either", MULTIPART + "b"),
    lambda: make(b"no boundary", "multipart/form-data"),
    form,
    lambda: form(a="1"),
    lambda: form(a="2"),
    lambda: form(a=["1", "1"]),
    lambda: form(b="1"),
    lambda: form(a="1", file=upload(b"AAAA")),
    lambda: form(a="1", file=upload(b"BBBB")),
    lambda: form(a="1", file=upload(b"BBBB", "b.txt")),
    lambda: form(a="1", file=upload(b"BBBB", kind="text/html")),
    lambda: form(a="1", other=upload(b"BBBB")),
    lambda: form(a="1", file=[upload(b"BBBB"), upload(b"BBBB")]),
]


@pytest.mark.parametrize("read", [lambda request: request, parsed], ids=["not read", "parsed"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_requests_have_other_digests(method: str, read: Any) -> None:
    def once() -> list[str]:
        digests = []
        for create in DIFFERENT:
            request = create()
            request.method = method
            digests.append(digest(read(request)))
        return digests

    digests = once()
    assert digests == once()
    if read is parsed and method == "POST":
        # These parse to nothing, so the view could not tell them apart either.
        assert digests[9] == digests[10] == digests[12]
        del digests[9:11]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_the_boundary_does_not_count(method: str) -> None:
    boundaries = ["b", "--", "x" * 70, "a-much-longer-boundary"]
    fields = {"a": "1", "file": upload(b"text")}
    digests = set()
    for boundary in boundaries:
        fields["file"] = upload(b"text")
        digests.add(digest(form(boundary, method, **fields)))
    assert len(digests) == 1
    # Except in a body that is not multipart.
    kinds = {digest(make(b"a", f"text/plain; boundary={each}")) for each in boundaries}
    assert len(kinds) == 1


@pytest.mark.parametrize("size", range(1, 20))
def test_a_delimiter_is_found_wherever_the_body_is_cut(size: int) -> None:
    body = b"--bound\r\none\r\n--bound\r\n--boun\r\n--bound--"
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    expected = b"--\r\none\r\n--\r\n--boun\r\n----"
    assert b"".join(_without(chunks, b"--bound")) == expected


@pytest.mark.parametrize("read", ["body", "form", "body, form", "stream", "lines"])
def test_the_view_reads_what_it_would_have_read(read: str) -> None:
    def see(request: HttpRequest) -> list[Any]:
        seen: list[Any] = []
        if "body" in read:
            seen.append(request.body)
        if "form" in read:
            seen += [request.POST, request.FILES["file"].read()]  # type: ignore[union-attr]
        if read == "stream":
            seen += [request.read(5), request.read()]
        if read == "lines":
            seen += list(request)
        return seen

    plain, digested = (form(a="1", file=upload(b"text" * CHUNK)) for _ in range(2))
    digest(digested)
    assert see(digested) == see(plain)


def test_a_form_that_was_parsed_can_be_read_again() -> None:
    request = parsed(form(a="1", file=upload(b"text")))
    digest(request)
    assert request.FILES["file"].read() == b"text"  # type: ignore[union-attr]
    # As without a digest.
    with pytest.raises(RawPostDataException):
        _ = request.body


def test_a_body_that_was_read_before_is_the_same() -> None:
    request = form(a="1")
    _ = request.body
    assert digest(request) == digest(form(a="1"))
    assert request.POST.dict() == {"a": "1"}
    in_part = make(b"abc", "text/plain")
    in_part.read(1)
    with pytest.raises(RawPostDataException):
        digest(in_part)


def test_a_large_body_takes_little_memory_and_a_file(settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = CHUNK

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b"a" * size

    size = 200 * CHUNK
    environ = RequestFactory().generic("POST", "/", b"", MULTIPART + "b").META
    request = WSGIRequest({**environ, "CONTENT_LENGTH": str(size), "wsgi.input": Endless()})
    tracemalloc.start()
    digest(request, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * CHUNK
    total = 0
    while chunk := request.read(CHUNK):
        total += len(chunk)
    assert total == size


@pytest.mark.parametrize("length", [True, False])
def test_a_body_over_the_limit_is_refused(length: bool) -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    if length:
        scope["headers"] = [(b"content-length", b"11")]

    def post(size: int) -> tuple[HttpRequest, io.BytesIO]:
        sent = io.BytesIO(b"a" * size)
        return ASGIRequest(scope, sent), sent

    request, sent = post(11)
    with pytest.raises(BodyTooLargeError):
        digest(request, 10)
    # A length says so without reading.
    assert sent.tell() == (0 if length else 11)
    if not length:
        request, sent = post(10)
        digest(request, 10)
        assert request.body == b"a" * 10
        assert sent.closed


@pytest.mark.parametrize("length", ["abc", "1e3"])
def test_a_length_that_is_no_number_counts_as_none(length: str) -> None:
    """As for Django."""
    assert digest(make(b"a", "text/plain", CONTENT_LENGTH=length))


def test_a_boundary_that_no_encoding_has_is_no_error() -> None:
    """Its encoding in the header is the client's choice."""
    request = make(b"a", "multipart/form-data; boundary*=unicode_escape''%5Cud800")
    assert request.content_params == {"boundary": "\ud800"}
    assert digest(request)


def test_a_client_that_breaks_off_is_an_error() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("gone")

    environ = make(b"abc", "text/plain").META
    with pytest.raises(UnreadablePostError):
        digest(WSGIRequest({**environ, "wsgi.input": Broken()}))
