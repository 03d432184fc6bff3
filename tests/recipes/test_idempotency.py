"""The idempotency recipe: the view runs once per key, and its answer is repeated."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connections, transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from django.test.client import BOUNDARY

from django_persist import Store, persist
from django_persist.http import HttpRequest
from testproject.site.recipes.idempotency import Attempt, IdempotencyKey
from tests.conftest import DATABASE_SERVERS
from tests.processes import race
from tests.recipes.conftest import Advance
from tests.recipes.helpers import EIGHT, child, in_threads, kill, make_request

KEYS = [f"key-{n}" for n in range(25)]
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


@pytest.mark.parametrize(
    ("status", "runs"), [(200, 1), (302, 1), (400, 1), (404, 1), (429, 2), (500, 2), (503, 2)]
)
def test_answers_to_be_retried_are_not_kept(open_store: Any, status: int, runs: int) -> None:
    open_store("memory")

    def view(request: HttpRequest) -> HttpResponse:
        persist.incr("runs")
        return HttpResponse(status=status)

    once = IdempotencyKey()(view)
    assert [send(once).status_code for _ in range(2)] == [status, status]
    assert persist.get("runs") == runs


def test_an_answer_is_kept_for_the_given_time(store: Store, advance: Advance) -> None:
    view = IdempotencyKey(keep=timedelta(hours=1))(pay)
    assert send(view).content == b'{"payment": 1}'
    advance(3599)
    assert send(view).content == b'{"payment": 1}'
    advance(2)
    assert send(view).content == b'{"payment": 2}'


def test_the_answer_has_its_headers_and_no_cookie(store: Store) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(
            "<b>\xe9</b>\0".encode("latin-1"), content_type="text/html", status=201
        )
        response["Location"] = "/payments/1"
        response["Date"] = "then"
        response.set_cookie("session", "secret")
        return response

    once = IdempotencyKey()(view)
    first, again = send(once), send(once)
    assert "session" in first.cookies
    assert (again.status_code, again.content) == (201, first.content)
    assert dict(again.items()) == {"Content-Type": "text/html", "Location": "/payments/1"}
    assert not again.cookies


def test_a_streaming_answer_is_refused(store: Store) -> None:
    view: Any = lambda request: StreamingHttpResponse(iter(["a"]))  # noqa: E731
    with pytest.raises(TypeError, match="streaming"):
        send(IdempotencyKey()(view))
    assert store.count() == 0


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
    callers: list[dict[str, Any]] = [
        {},
        {"user": 1},
        {"user": 2},
        {"HTTP_AUTHORIZATION": "Bearer a"},
        {"HTTP_AUTHORIZATION": "Bearer b"},
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


def test_other_methods_and_an_optional_key_pass(store: Store) -> None:
    for _ in range(2):
        assert PAY(make_request("GET", "/", headers={"Idempotency-Key": "a"})).status_code == 201
        assert IdempotencyKey(required=False)(pay)(make_request()).status_code == 201
    assert persist.get("payments") == 4
    assert list(store.keys()) == ["payments"]


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


def test_a_rollback_undoes_work_and_answer_together(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        send()
        raise ZeroDivisionError
    assert database_store.count() == 0
    with transaction.atomic(using):
        assert send().content == b'{"payment": 1}'
    assert send().content == b'{"payment": 1}'


def test_a_database_error_is_raised_unchanged(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]

    def view(request: HttpRequest) -> HttpResponse:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT nothing")
        return HttpResponse()

    with pytest.raises(DatabaseError, match="nothing"), transaction.atomic(using):
        send(IdempotencyKey()(view))
    assert database_store.count() == 0


def send_in_a_transaction(i: int) -> list[tuple[int, bytes]]:
    using = persist.driver.using  # type: ignore[attr-defined]
    answers = []
    for key in KEYS:
        with transaction.atomic(using):
            answers.append(send(key=key))
    return [(answer.status_code, answer.content) for answer in answers]


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_in_transactions_the_others_wait_for_the_answer(server: str, open_store: Any) -> None:
    open_store(server)
    got = race(send_in_a_transaction, processes=EIGHT)
    assert_each_ran_once(got)
    assert {status for answers in got for status, _ in answers} == {201}


def test_neither_key_nor_request_is_readable_in_the_store(store: Store) -> None:
    send(key="guess-me", data="card=4111", HTTP_AUTHORIZATION="Bearer secret")
    text = repr(list(store.items()))
    assert not re.search("guess-me|4111|secret", text)
    [key] = store.keys("idempotency:")
    assert store.get(key, as_=Attempt) is not None
