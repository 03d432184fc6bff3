"""IdempotencyKey: a view runs once per key, and its answer is repeated."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.client import BOUNDARY
from django.views.decorators.clickjacking import xframe_options_exempt

from django_persist import Store, persist
from django_persist.contrib.idempotency import Attempt, IdempotencyKey
from django_persist.exceptions import InvalidExpiryError, StoreUnavailableError
from django_persist.http import HttpRequest
from tests import servers
from tests.conftest import BACKENDS
from tests.contrib.conftest import Advance, Serve
from tests.processes import race
from tests.recipes.helpers import EIGHT, child, in_threads, kill, make_request

KEYS = [f"key-{n}" for n in range(12)]
LEASE = timedelta(minutes=1)


def pay(request: HttpRequest) -> HttpResponse:
    """Count a payment, which must happen once, and return the count."""
    return JsonResponse({"payment": persist.incr("payments")}, status=201)


PAY = IdempotencyKey(lease=LEASE)(pay)


def send(
    view: Callable[[HttpRequest], HttpResponse] = PAY,
    key: str = "a",
    data: Any = "amount=5",
    **more: Any,
) -> HttpResponse:
    more = {"content_type": "application/x-www-form-urlencoded", **more}
    return view(make_request("POST", "/payments", data, headers={"Idempotency-Key": key}, **more))


def test_a_repeated_request_gets_the_same_answer(store: Store, client: Client) -> None:
    headers = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = client.post("/orders", {"product": "tea"}, headers=headers)
    assert (first.status_code, first.json()) == (201, {"order": 1, "product": "tea"})
    again = client.post("/orders", {"product": "tea"}, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Content-Type"] == first["Content-Type"] == "application/json"
    other = client.post("/orders", {"product": "cup"}, headers=headers)
    assert (other.status_code, other["Content-Type"]) == (422, "application/problem+json")
    assert client.post("/orders", {"product": "tea"}).status_code == 400
    another = client.post("/orders", {"product": "tea"}, headers={"Idempotency-Key": '"b"'})
    assert another.json()["order"] == 2


def send_each(i: int) -> list[tuple[int, bytes]]:
    answers = [send(key=key) for key in KEYS]
    return [(answer.status_code, answer.content) for answer in answers]


def assert_each_ran_once(got: list[list[tuple[int, bytes]]]) -> None:
    assert persist.get("payments") == len(KEYS)
    for answers in zip(*got, strict=True):
        assert {status for status, _ in answers} <= {201, 409}
        assert len({body for status, body in answers if status == 201}) == 1


def test_one_of_eight_processes_runs_a_repeated_request(shared_store: Store) -> None:
    assert_each_ran_once(race(send_each, processes=EIGHT))


def test_one_of_eight_threads_runs_a_repeated_request(open_store: Any) -> None:
    open_store("memory")
    assert_each_ran_once(in_threads(send_each))


def test_a_request_repeated_while_the_view_runs_gets_a_409(store: Store) -> None:
    seen: list[int] = []

    def slow(request: HttpRequest) -> HttpResponse:
        seen.append(send(view).status_code)
        seen.append(send(view, data="amount=6").status_code)
        return pay(request)

    view = IdempotencyKey()(slow)
    assert send(view).status_code == 201
    assert seen == [409, 422]


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_error_frees_the_key(store: Store, error: type[BaseException]) -> None:
    def fail(request: HttpRequest) -> HttpResponse:
        raise error

    with pytest.raises(error):
        send(IdempotencyKey()(fail))
    assert store.count() == 0
    assert send().status_code == 201


def pay_slowly(line: Connection) -> None:
    def slow(request: HttpRequest) -> HttpResponse:
        line.send("begun")
        line.recv()
        return pay(request)

    send(IdempotencyKey(lease=LEASE)(slow))


def test_after_a_killed_process_the_lease_frees_the_key(
    shared_store: Store, advance: Advance
) -> None:
    with child(pay_slowly) as (process, line):
        assert line.recv() == "begun"
        kill(process)
    advance(50)
    assert send().status_code == 409
    advance(11)
    assert send().content == b'{"payment": 1}'
    assert send().content == b'{"payment": 1}'


def late(
    advance: Advance, meanwhile: Callable[[], object]
) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view whose first call outlasts its lease, and calls `meanwhile` after it."""
    waiting = [meanwhile]

    def view(request: HttpRequest) -> HttpResponse:
        if not waiting:
            return HttpResponse("second")
        advance(61)
        waiting.pop()()
        return HttpResponse("first")

    return view


def test_a_late_answer_does_not_overwrite_the_next_callers(store: Store, advance: Advance) -> None:
    answers: list[bytes] = []
    once = IdempotencyKey(lease=LEASE)
    view = once(late(advance, lambda: answers.append(send(view).content)))
    assert send(view).content == b"first"
    assert answers == [b"second"]
    assert send(view).content == b"second"


def test_a_late_answer_is_kept_if_nobody_took_the_key(store: Store, advance: Advance) -> None:
    view = IdempotencyKey(lease=LEASE)(late(advance, lambda: None))
    assert send(view).content == b"first"
    assert send(view).content == b"first"


def test_a_late_error_does_not_free_the_next_callers_key(store: Store, advance: Advance) -> None:
    def fail() -> None:
        payload = "next payload"
        persist.create(key, Attempt("next", payload), expires=LEASE)
        raise ZeroDivisionError

    view = IdempotencyKey(lease=LEASE)(late(advance, fail))
    seen: list[str] = []

    def spy(request: HttpRequest) -> HttpResponse:
        seen.extend(persist.keys())
        return HttpResponse()

    send(IdempotencyKey(lease=LEASE)(spy))
    [key] = seen
    persist.remove(key)
    with pytest.raises(ZeroDivisionError):
        send(view)
    assert persist.get(key, as_=Attempt) == Attempt("next", "next payload")


STATUSES = [200, 201, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503]
FREED = [401, 403, 429, 500, 503]


@pytest.mark.parametrize("status", STATUSES)
def test_answers_to_be_retried_are_not_kept(open_store: Any, status: int) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        persist.incr("runs")
        return HttpResponse(status=status)

    once = IdempotencyKey()(view)
    assert [send(once).status_code for _ in range(2)] == [status, status]
    assert persist.get("runs") == (2 if status in FREED else 1)
    assert persist.count("idempotency:") == (0 if status in FREED else 1)
    # The statuses are a setting.
    all_but = IdempotencyKey(retryable=set(STATUSES) - {status})(view)
    assert [send(all_but, key="b").status_code for _ in range(2)] == [status, status]
    assert persist.get("runs") == (3 if status in FREED else 2)


ANSWERED = [
    (Http404("which"), 404, 1),
    (BadRequest("no"), 400, 1),
    (SuspiciousOperation("no"), 400, 1),
    (PermissionDenied("who"), 403, 2),
]


@pytest.mark.parametrize(("error", "status", "runs"), ANSWERED)
def test_an_exception_that_django_answers_is_kept_like_that_answer(
    open_store: Any, serve: Serve, error: Exception, status: int, runs: int
) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        persist.incr("runs")
        raise error

    serve(IdempotencyKey()(view), plain=view)
    client = Client(headers={"Idempotency-Key": "a"})
    plain = client.post("/plain")
    assert plain.status_code == status
    persist.remove("runs")
    for answer in (client.post("/"), client.post("/")):
        assert (answer.status_code, answer.content) == (status, plain.content)
        # Who the caller is depends on the session.
        assert answer.headers == {**plain.headers, "Vary": "Cookie"}
    assert persist.get("runs") == runs


def test_an_answer_is_kept_for_the_given_time(store: Store, advance: Advance) -> None:
    view = IdempotencyKey(keep=timedelta(hours=1))(pay)
    assert send(view).content == b'{"payment": 1}'
    advance(3599)
    assert send(view).content == b'{"payment": 1}'
    advance(2)
    assert send(view).content == b'{"payment": 2}'


def test_the_answer_has_its_headers_and_no_cookie(store: Store) -> None:
    kept = {
        "Content-Type": "text/html",
        "Content-Encoding": "gzip",
        "Content-Disposition": 'attachment; filename="\xe9.html"',
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "ETag": '"a"',
        "Location": "/payments/1",
        "Vary": "Accept",
        "X-Own": "\u20ac",
    }

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(gzip.compress(b"<b>\xe9</b>\0"), status=201, headers=kept)
        response["Date"] = "then"
        response["Set-Cookie"] = "a=secret"
        response.set_cookie("session", "secret")
        return response

    once = IdempotencyKey()(view)
    first, again = send(once), send(once)
    assert "session" in first.cookies
    assert (again.status_code, again.content) == (201, first.content)
    assert dict(again.items()) == {name: first[name] for name in kept}
    assert not again.cookies
    assert "secret" not in repr(list(store.items()))


def test_an_answer_without_a_content_type_stays_without_one(open_store: Any) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(status=204)
        del response["Content-Type"]
        return response

    once = IdempotencyKey()(view)
    assert [dict(send(once).items()) for _ in range(2)] == [{}, {}]


def test_middleware_treats_a_repeated_answer_like_the_first(
    open_store: Any, serve: Serve, settings: Any
) -> None:
    open_store("memory")
    settings.MIDDLEWARE = [
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        *settings.MIDDLEWARE,
    ]

    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse("a" * 500)
        response._csp_config = {"default-src": ["self"]}  # type: ignore[attr-defined]
        return response

    serve(IdempotencyKey()(xframe_options_exempt(view)))
    client = Client(headers={"Idempotency-Key": "a", "Accept-Encoding": "gzip"})
    first, again = client.post("/"), client.post("/")
    for response in (first, again):
        assert "X-Frame-Options" not in response
        assert response["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.content) == b"a" * 500
        assert vars(response)["_csp_config"] == {"default-src": ["self"]}


def test_a_streaming_answer_is_refused_and_the_view_never_runs_again(store: Store) -> None:
    def view(request: HttpRequest) -> Any:
        persist.incr("runs")
        return StreamingHttpResponse(iter(["a"]))

    once = IdempotencyKey()(view)
    with pytest.raises(TypeError, match="streaming"):
        send(once)
    assert send(once).status_code == 409
    assert persist.get("runs") == 1


def test_an_answer_that_the_store_refuses_is_given_once(
    open_store: Any, server: str, advance: Advance
) -> None:
    open_store(server, MAX_VALUE_BYTES=1000)

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"a" * (1000 + persist.incr("runs")))

    once = IdempotencyKey()(view)
    assert [send(once).status_code for _ in range(2)] == [200, 409]
    advance(3600)  # It isn't the lease that keeps the view from running.
    assert send(once).status_code == 409
    assert persist.get("runs") == 1


def test_an_answer_that_is_too_large_is_given_once_and_the_view_never_runs_again(
    store: Store,
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"a" * (10 + persist.incr("runs")))

    once = IdempotencyKey(max_bytes=10)(view)
    assert send(once).status_code == 200
    assert [send(once).status_code for _ in range(2)] == [409, 409]
    assert persist.get("runs") == 1


def test_a_template_response_is_rendered_before_it_is_kept(open_store: Any) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        template: Any = engines["django"].from_string("{{ a }}")
        return SimpleTemplateResponse(template, {"a": persist.incr("a")})

    once = IdempotencyKey()(view)
    assert [send(once).content for _ in range(2)] == [b"1", b"1"]


def test_nobody_gets_another_callers_answer(store: Store) -> None:
    user = f"{User.__module__}.{User.__qualname__}"
    callers: list[dict[str, Any]] = [
        {},
        {"user": 1},
        {"user": 2},
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "Bearer a"},
        {"HTTP_AUTHORIZATION": "Bearer b"},
        # What another caller is called, as a header.
        {"HTTP_AUTHORIZATION": "anyone"},
        {"HTTP_AUTHORIZATION": "user 1"},
        {"HTTP_AUTHORIZATION": f"user {user} 1"},
        {"HTTP_AUTHORIZATION": "credentials Bearer a"},
        {"HTTP_HOST": "other.example"},
    ]
    for _ in range(2):
        answers = [send(**caller).content for caller in callers]
        assert len(set(answers)) == len(callers)
    view = IdempotencyKey(scope=lambda request: "one for all")(pay)
    assert send(view, user=1).content == send(view, user=2).content


def test_the_key_is_for_one_path_and_one_method(store: Store) -> None:
    headers = {"Idempotency-Key": "a"}
    for method, path in (("POST", "/a"), ("POST", "/b"), ("PATCH", "/a")):
        assert PAY(make_request(method, path, headers=headers)).status_code == 201
        assert PAY(make_request(method, path, headers=headers)).status_code == 201
    assert persist.get("payments") == 3
    assert send(QUERY_STRING="a=1").status_code == 201
    assert send(QUERY_STRING="a=2").status_code == 422


def test_a_large_body_is_refused_before_the_view_runs(store: Store) -> None:
    view = IdempotencyKey(max_request_bytes=10)(pay)
    refused = send(view, data="amount=5678")
    assert (refused.status_code, refused["Content-Type"]) == (413, "application/problem+json")
    assert store.count() == 0
    assert send(view, data="amount=567").status_code == 201


def test_a_store_of_its_own(open_store: Any) -> None:
    mine = open_store("memory").namespace("mine")
    view = IdempotencyKey(store=mine)(pay)
    assert [send(view).content for _ in range(2)] == [b'{"payment": 1}'] * 2
    assert mine.count() == 1
    assert persist.count("idempotency:") == 0


def test_under_asgi(open_store: Any, serve: Serve) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        assert request.FILES["file"].read() == b"text"  # type: ignore[union-attr]
        return pay(request)

    serve(IdempotencyKey()(view))

    async def post() -> bytes:
        file = SimpleUploadedFile("a.txt", b"text")
        headers = {"Idempotency-Key": "a"}
        return (await AsyncClient().post("/", {"file": file}, headers=headers)).content

    assert [async_to_sync(post)() for _ in range(2)] == [b'{"payment": 1}'] * 2


def test_an_async_view_is_refused() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    with pytest.raises(TypeError, match="async"):
        IdempotencyKey()(view)


@pytest.mark.parametrize("name", ["lease", "keep"])
def test_invalid_lifetimes_are_refused_at_once(name: str) -> None:
    arguments: dict[str, Any] = {name: timedelta(0)}
    with pytest.raises(InvalidExpiryError):
        IdempotencyKey(**arguments)


def test_other_methods_and_an_optional_key_pass(store: Store) -> None:
    for _ in range(2):
        assert PAY(make_request("GET", "/", headers={"Idempotency-Key": "a"})).status_code == 201
        assert IdempotencyKey(required=False)(pay)(make_request()).status_code == 201
    assert persist.get("payments") == 4
    assert set(store.keys()) == {"payments"}


@pytest.mark.parametrize("read", [False, True])
def test_a_form_is_recognized_by_its_content(open_store: Any, read: bool) -> None:
    open_store("memory")

    def ask(boundary: str, amount: str, upload: bytes) -> int:
        request = RequestFactory().post(
            "/", {"amount": amount, "file": SimpleUploadedFile("a.txt", upload)}
        )
        body = request.read().replace(BOUNDARY.encode(), boundary.encode())
        kind = f"multipart/form-data; boundary={boundary}"
        again = make_request("POST", "/", body, content_type=kind, headers={"Idempotency-Key": "a"})
        if read:
            assert again.POST["amount"] == amount  # CsrfViewMiddleware reads it, too.

        def view(request: HttpRequest) -> HttpResponse:
            assert request.FILES["file"].read() == upload  # type: ignore[union-attr]
            return pay(request)

        return IdempotencyKey()(view)(again).status_code

    assert ask("one", "5", b"text") == 201
    assert ask("two", "5", b"text") == 201
    assert persist.get("payments") == 1
    assert ask("two", "6", b"text") == 422
    assert ask("two", "5", b"longer text") == 422
    assert ask("two", "5", b"TEXT") == 422


class GoneError(Exception):
    pass


def test_a_store_that_dies_while_the_view_runs(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.Valkey()
    server.start()
    settings.CACHES = {
        "own": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url}
    }
    settings.PERSIST = {"default": {**BACKENDS["valkey"], "OPTIONS": {"cache": "own"}}}

    def view(request: HttpRequest) -> HttpResponse:
        server.kill()
        return HttpResponse("secret answer")

    # The work is done, so the client gets its answer.
    assert send(IdempotencyKey()(view)).content == b"secret answer"
    [record] = [each for each in caplog.records if each.name == "django_persist"]
    assert "An answer could not be stored" in record.message
    assert "secret" not in caplog.text
    # Without the store nothing runs.
    with pytest.raises(StoreUnavailableError):
        send(IdempotencyKey()(view))

    def fail(request: HttpRequest) -> HttpResponse:
        server.kill()
        raise GoneError

    server.start()
    with pytest.raises(GoneError):
        send(IdempotencyKey()(fail))


def test_neither_key_nor_request_is_readable_in_the_store(store: Store) -> None:
    send(key="guess-me", data="card=4111", HTTP_AUTHORIZATION="Bearer secret")
    text = repr(list(store.items()))
    assert not re.search("guess-me|4111|secret", text)
    [key] = store.keys("idempotency:")
    assert store.get(key, as_=Attempt) is not None
