"""IdempotencyKey with ATOMIC_REQUESTS: the answer is committed with the work, or neither is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connections, transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import Store, persist
from django_persist.contrib._checks import check_views
from django_persist.contrib.idempotency import Attempt, IdempotencyKey, Run
from django_persist.contrib.rest import IdempotencyMixin
from django_persist.drivers.database.driver import DatabaseDriver
from tests.aliases import alias, another
from tests.conftest import DATABASE_SERVERS, OpenStore
from tests.contrib.conftest import Advance, Serve
from tests.processes import race
from tests.recipes.helpers import EIGHT, child, kill
from tests.servers import free_port

LEASE = timedelta(minutes=1)
Body = Callable[[], Any]
once = IdempotencyKey(lease=LEASE)
client = Client(raise_request_exception=False, headers={"Idempotency-Key": "a"})


def function(body: Body) -> Any:
    return once(lambda request: body())


def new(*bases: type) -> Any:
    """Return a class of its own, because a decorator changes the class."""
    return type("New", bases, {"idempotency": once})


class Plain(View):
    body: Any = None

    def post(self, request: Any) -> Any:
        return self.body()


class Api(APIView):
    body: Any = None

    def post(self, request: Any) -> Any:
        return self.body()


class Set(ViewSet):
    body: Any = None

    def create(self, request: Any) -> Any:
        return self.body()


def on_dispatch(body: Body) -> Any:
    return method_decorator(once, name="dispatch")(new(Plain)).as_view(body=body)


def on_class(body: Body) -> Any:
    return once(new(Plain)).as_view(body=body)


def on_api_dispatch(body: Body) -> Any:
    return method_decorator(once, name="dispatch")(new(Api)).as_view(body=body)


def on_viewset(body: Body) -> Any:
    return once(new(Set)).as_view({"post": "create"}, body=body)


def on_as_view(body: Body) -> Any:
    return once(new(Set).as_view({"post": "create"}, body=body))


def on_api_view(body: Body) -> Any:
    return once(api_view(["POST"])(lambda request: body()))


def mixin(body: Body) -> Any:
    return new(IdempotencyMixin, Api).as_view(body=body)


def viewset_mixin(body: Body) -> Any:
    return new(IdempotencyMixin, Set).as_view({"post": "create"}, body=body)


DJANGO = [function, on_dispatch, on_class]
DRF = [on_api_dispatch, on_viewset, on_as_view, on_api_view, mixin, viewset_mixin]
each_kind = pytest.mark.parametrize("decorated", [*DJANGO, *DRF])


def reply(decorated: Any, data: Any, status: int = 201) -> Any:
    return (Response if decorated in DRF else JsonResponse)(data, status=status)


@each_kind
@pytest.mark.parametrize("atomic", [True, False])
def test_three_requests_are_one_order(
    database: str,
    open_store: OpenStore,
    atomic_requests: Any,
    serve: Serve,
    decorated: Any,
    atomic: bool,
) -> None:
    open_store(database)
    if atomic:
        atomic_requests("default" if database == "sqlite" else database)
    serve(decorated(lambda: reply(decorated, {"order": persist.incr("orders")})))
    assert check_views() == []
    answers = [client.post("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert [answer.json() for answer in answers] == [{"order": 1}] * 3
    assert {tuple(answer.items()) for answer in answers} == {tuple(answers[0].items())}
    assert persist.get("orders") == 1


@each_kind
def test_an_error_rolls_the_work_back_and_frees_the_key(
    using: str, serve: Serve, decorated: Any
) -> None:
    def fail() -> Any:
        persist.incr("orders")
        raise ZeroDivisionError

    serve(decorated(fail))
    assert [client.post("/").status_code for _ in range(2)] == [500, 500]
    assert persist.count() == 0


ERRORS = [(ValidationError("no"), 400), (Http404(), 404), (APIException("later"), 500)]


@pytest.mark.parametrize(("error", "status"), ERRORS)
@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("decorated", DRF)
def test_an_error_that_drf_answers(
    using: str, serve: Serve, settings: Any, decorated: Any, html: bool, error: Any, status: int
) -> None:
    runs: list[int] = []

    def fail() -> Any:
        runs.append(persist.incr("orders"))
        raise error

    serve(decorated(fail))
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    # The browsable API asks the database who the user is.
    accept = {"Accept": "text/html" if html else "application/json"}
    answers = [client.post("/", headers=accept) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status] * 2
    assert answers[0]["Content-Type"].startswith(accept["Accept"])
    if status < 500:
        assert answers[0].content == answers[1].content
    assert runs == ([1] if status < 500 else [1, 1])
    assert persist.get("orders") is None
    assert persist.count() == (1 if status < 500 else 0)


@pytest.mark.parametrize("decorated", DJANGO)
def test_a_404_that_is_raised_rolls_back_and_is_kept(
    using: str, serve: Serve, decorated: Any
) -> None:
    runs: list[int] = []

    def fail() -> Any:
        runs.append(persist.incr("orders"))
        raise Http404

    serve(decorated(fail))
    assert [client.post("/").status_code for _ in range(2)] == [404, 404]
    assert runs == [1]
    assert persist.get("orders") is None


@each_kind
def test_what_is_answered_is_committed_with_the_work(
    using: str, serve: Serve, decorated: Any
) -> None:
    """When the callbacks of the commit run, the answer is there already; and they run once."""
    seen: list[Any] = []

    def look() -> None:
        [(_, item)] = persist.items("idempotency:")
        seen.append((item.value["answer"]["status"], connections[using].in_atomic_block))

    def work() -> Any:
        seen.append(len(connections[using].atomic_blocks))
        transaction.on_commit(look, using)
        return reply(decorated, {})

    serve(decorated(work))
    assert [client.post("/").status_code for _ in range(2)] == [201, 201]
    assert seen == [1, (201, False)]


@pytest.mark.parametrize("server", ["sqlite", "postgresql", "mariadb", "memory", "valkey"])
@pytest.mark.parametrize("decorated", [function, mixin])
def test_a_callback_that_fails_after_the_commit_does_not_free_the_key(
    open_store: OpenStore, server: str, atomic_requests: Any, serve: Serve, decorated: Any
) -> None:
    driver = open_store(server).driver
    using = str(getattr(driver, "using", "default"))
    atomic_requests(using)

    def work() -> Any:
        transaction.on_commit(lambda: 1 // 0, using)
        return reply(decorated, {"order": persist.incr("orders")})

    serve(decorated(work))
    assert [client.post("/").status_code for _ in range(2)] == [500, 201]
    assert persist.get("orders") == 1


def test_a_commit_whose_reply_is_lost(using: str, serve: Serve, monkeypatch: Any) -> None:
    """Whether it has committed, the entry knows: it has the answer then."""
    commit = connections[using].commit

    def commit_and_lose() -> None:
        monkeypatch.setattr(connections[using], "commit", commit)
        commit()
        raise OperationalError("lost")

    def work() -> Any:
        monkeypatch.setattr(connections[using], "commit", commit_and_lose)
        return JsonResponse({"order": persist.incr("orders")})

    serve(function(work))
    assert client.post("/").status_code == 500
    assert client.post("/").json() == {"order": 1}
    assert persist.get("orders") == 1


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_of_two_databases_the_stores_commits_last(
    server: str, open_store: OpenStore, atomic_requests: Any, serve: Serve, monkeypatch: Any
) -> None:
    """So there is no answer unless all work is committed."""
    open_store(server)
    atomic_requests("default")
    atomic_requests(server)
    runs: list[int] = []
    other = connections["default"]
    commit = other.commit

    def fail() -> None:
        monkeypatch.setattr(other, "commit", commit)
        raise OperationalError("not committed")

    def work() -> Any:
        if not runs:
            monkeypatch.setattr(other, "commit", fail)
        runs.append(persist.incr("orders"))
        return JsonResponse({"order": runs[-1]})

    serve(function(work))
    assert [client.post("/").status_code for _ in range(3)] == [500, 200, 200]
    assert runs == [1, 1]


def test_an_answer_that_the_store_refuses_is_given_once(
    database: str, open_store: OpenStore, atomic_requests: Any, serve: Serve
) -> None:
    open_store(database, MAX_VALUE_BYTES=1000)
    atomic_requests("default" if database == "sqlite" else database)

    def work() -> Any:
        return HttpResponse(b"a" * (1000 + persist.incr("runs")))

    serve(function(work))
    assert [client.post("/").status_code for _ in range(2)] == [200, 409]
    assert persist.get("runs") == 1


def test_a_response_that_cannot_be_rendered_rolls_the_work_back(using: str, serve: Serve) -> None:
    serve(mixin(lambda: Response({"order": persist.incr("orders"), "bad": object()})))
    assert [client.post("/").status_code for _ in range(2)] == [500, 500]
    assert persist.count() == 0


@pytest.mark.parametrize("decorated", [function, mixin])
def test_a_late_view_is_rolled_back(
    using: str, serve: Serve, advance: Advance, decorated: Any
) -> None:
    """Its lease has ended, and another request has taken the key meanwhile."""
    taken = Attempt("the other request", "payload")

    def work() -> Any:
        with alias("aside", another(using, ATOMIC_REQUESTS=False)):
            aside = Store(DatabaseDriver("aside"))
            [key] = aside.keys("idempotency:")
            advance(61)
            aside.create(key, taken)
        return reply(decorated, {"order": persist.incr("orders")})

    serve(decorated(work))
    answer = client.post("/")
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    [(key, _)] = persist.items()
    assert persist.get(key, as_=Attempt) == taken


def order_slowly(line: Connection) -> None:
    def work() -> Any:
        persist.incr("orders")
        line.send("working")
        line.recv()
        return JsonResponse({})

    settings.ROOT_URLCONF = (path("", function(work)),)
    client.post("/")


def order_and_pause_before_the_commit(line: Connection) -> None:
    settle = Run._settle

    def settle_and_pause(self: Any, outcome: Any) -> Any:
        settled = settle(self, outcome)
        line.send("working")
        line.recv()
        return settled

    Run._settle = settle_and_pause  # type: ignore[method-assign]
    order_and_pause(line, pause=False)


def order_and_pause(line: Connection, pause: bool = True) -> None:
    """Place an order, and pause once it is committed, before the answer is sent."""

    def work() -> Any:
        def committed() -> None:
            line.send("working")
            line.recv()

        if pause:
            transaction.on_commit(committed, persist.driver.using)  # type: ignore[attr-defined]
        return JsonResponse({"order": persist.incr("orders")})

    settings.ROOT_URLCONF = (path("", function(work)),)
    client.post("/")


@pytest.mark.parametrize(
    ("place_order", "is_committed"),
    [(order_slowly, False), (order_and_pause_before_the_commit, False), (order_and_pause, True)],
)
def test_a_worker_that_is_killed_orders_once(
    using: str, serve: Serve, advance: Advance, place_order: Any, is_committed: bool
) -> None:
    with child(place_order) as (process, line):
        assert line.recv() == "working"
        kill(process)
    serve(function(lambda: JsonResponse({"order": persist.incr("orders")})))
    if not is_committed:
        assert client.post("/").status_code == 409
        advance(61)
    assert client.post("/").json() == {"order": 1}
    assert client.post("/").json() == {"order": 1}
    assert persist.get("orders") == 1


KEYS = [f"key-{n}" for n in range(5)]


def send_each(i: int) -> list[int]:
    def work() -> Any:
        return HttpResponse(str(persist.incr("orders")))

    urls = (path("", function(work)), path("drf", viewset_mixin(work)))
    with override_settings(ROOT_URLCONF=urls):  # The process goes on to other tests.
        return [
            client.post(where, headers={"Idempotency-Key": key}).status_code
            for where in ("/", "/drf")
            for key in KEYS
        ]


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_of_eight_processes_one_orders(
    server: str, open_store: OpenStore, atomic_requests: Any
) -> None:
    open_store(server)
    atomic_requests(server)
    for statuses in zip(*race(send_each, processes=EIGHT), strict=True):
        assert {200} <= set(statuses) <= {200, 409}
    assert persist.get("orders") == 2 * len(KEYS)


def test_a_form_of_the_browsable_api_runs_in_a_transaction(
    using: str, serve: Serve, settings: Any
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    bodies: Any = iter([lambda: 1 // 0, Response])

    def work() -> Any:
        persist.incr("orders")
        return next(bodies)()

    serve(mixin(work))
    browser = Client(raise_request_exception=False, headers={"Accept": "text/html"})
    assert browser.post("/").status_code == 500
    assert persist.get("orders") is None
    assert browser.post("/").status_code == 200
    assert persist.get("orders") == 1


def test_a_store_on_another_alias_keeps_the_answer_after_the_commit(
    open_store: OpenStore, atomic_requests: Any, serve: Serve
) -> None:
    open_store("memory")
    atomic_requests("default")
    seen: list[Any] = []

    def work() -> Any:
        transaction.on_commit(lambda: seen.append(persist.count()))
        return HttpResponse(str(persist.incr("orders")))

    serve(function(work))
    assert [client.post("/").content for _ in range(2)] == [b"1", b"1"]
    assert seen == [2]


@each_kind
def test_a_transaction_that_can_not_begin_frees_the_key(
    open_store: OpenStore, atomic_requests: Any, serve: Serve, decorated: Any
) -> None:
    """The store is elsewhere, so that it can be reached."""
    open_store("memory")
    serve(decorated(lambda: reply(decorated, {})))
    with alias("down", {**another("postgresql"), "PORT": free_port()}):
        atomic_requests("down")
        assert client.post("/").status_code == 500
    assert persist.count() == 0


@pytest.mark.django_db
@each_kind
def test_in_a_test_case_errors_leave_its_transaction_alone(
    atomic_requests: Any, serve: Serve, decorated: Any
) -> None:
    """DRF marks a transaction for rollback, also for a caller it refuses."""
    atomic_requests("default")

    def fail() -> Any:
        persist.incr("orders")
        raise Http404

    view = decorated(fail)
    serve(view)
    if hasattr(view, "cls"):
        view.cls.permission_classes = [Forbidden]
        assert client.post("/").status_code == 403
        assert persist.count() == 0
        view.cls.permission_classes = []
        view.cls.authentication_classes = [Unknown]
        assert client.post("/").status_code == 403
        assert persist.count() == 0
        view.cls.authentication_classes = []
    assert [client.post("/").status_code for _ in range(2)] == [404, 404]
    assert persist.get("orders") is None
    assert client.post("/", {"a": 1}).status_code == 422
    assert persist.count() == 1


class Forbidden(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Unknown(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        raise AuthenticationFailed
