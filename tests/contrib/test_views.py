"""A ViewDecorator does its own work outside the request's transaction, and the view runs in one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client, TestCase
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import persist
from django_persist.contrib._checks import check_views
from django_persist.contrib._views import Call, ViewDecorator
from django_persist.http import HttpRequest
from tests.aliases import alias, another
from tests.conftest import OpenStore
from tests.contrib.conftest import Serve

Body = Callable[[], HttpResponseBase]


class Count(ViewDecorator):
    """Counts the calls of a view."""

    def around(self, request: HttpRequest, call: Call) -> HttpResponseBase:
        request.persist.incr("calls")
        return call()


class Strict(Count):
    needs_every_alias = True
    works_in_drf = False


count = Count()


def function(body: Body, decorator: Any = count) -> Any:
    return decorator(lambda request: body())


def new(base: type, **attributes: Any) -> Any:
    """Return a class of its own, because a decorator changes the class."""
    return type("New", (base,), attributes)


class PlainView(View):
    body: Any = None

    def post(self, request: Any) -> Any:
        return self.body()


class Api(APIView):
    body: Any = None
    authentication_classes = ()

    def post(self, request: Any) -> Any:
        return self.body()


class Set(ViewSet):
    body: Any = None
    authentication_classes = ()

    def create(self, request: Any) -> Any:
        return self.body()


def on_dispatch(body: Body) -> Any:
    cls = new(PlainView)
    return method_decorator(count, name="dispatch")(cls).as_view(body=body)


def on_class(body: Body) -> Any:
    return count(new(PlainView)).as_view(body=body)


def on_api_dispatch(body: Body) -> Any:
    cls = new(Api)
    return method_decorator(count, name="dispatch")(cls).as_view(body=body)


def on_api_class(body: Body) -> Any:
    return count(new(Api)).as_view(body=body)


def on_as_view(body: Body) -> Any:
    return count(Api.as_view(body=body))


def on_viewset(body: Body) -> Any:
    return count(new(Set)).as_view({"post": "create"}, body=body)


def on_api_view(body: Body) -> Any:
    def view(request: Any) -> HttpResponseBase:
        return body()

    return count(api_view(["POST"])(view))


DJANGO = [function, on_dispatch, on_class]
DRF = [on_api_dispatch, on_api_class, on_as_view, on_viewset, on_api_view]
each_kind = pytest.mark.parametrize("decorated", [*DJANGO, *DRF])
client = Client(raise_request_exception=False)


@each_kind
def test_a_view_that_fails_is_rolled_back_and_counted(
    using: str, serve: Serve, decorated: Any
) -> None:
    def fail() -> HttpResponseBase:
        persist.incr("work")
        raise ZeroDivisionError

    serve(decorated(fail))
    assert client.post("/").status_code == 500
    assert (persist.get("calls"), persist.get("work")) == (1, None)


@pytest.mark.parametrize("decorated", DRF)
def test_an_error_that_drf_answers_rolls_the_work_back(
    using: str, serve: Serve, decorated: Any
) -> None:
    def fail() -> HttpResponseBase:
        persist.incr("work")
        raise ValidationError("no")

    serve(decorated(fail))
    assert client.post("/").status_code == 400
    assert (persist.get("calls"), persist.get("work")) == (1, None)


@each_kind
def test_a_view_runs_in_one_transaction_and_its_callbacks_once(
    using: str, serve: Serve, decorated: Any
) -> None:
    seen: list[str] = []

    def work() -> HttpResponseBase:
        seen.append(f"{len(connections[using].atomic_blocks)} blocks")
        persist.incr("work")
        transaction.on_commit(lambda: seen.append("committed"), using)
        return Response() if decorated in DRF else HttpResponse()

    serve(decorated(work))
    assert check_views() == []
    assert client.post("/").status_code == 200
    assert seen == ["1 blocks", "committed"]
    assert (persist.get("calls"), persist.get("work")) == (1, 1)


def work_and_fail() -> HttpResponseBase:
    persist.incr("work")
    raise ZeroDivisionError


@pytest.mark.parametrize("on_top", [True, False])
@pytest.mark.parametrize("decorated", DJANGO)
def test_a_view_that_opted_out_runs_without_a_transaction(
    using: str, serve: Serve, decorated: Any, on_top: bool
) -> None:
    opt_out = transaction.non_atomic_requests(using)
    both: Any
    if decorated is function:
        both = (opt_out, count) if on_top else (count, opt_out)
        view = function(work_and_fail, lambda view: both[0](both[1](view)))
    else:
        cls: Any = new(PlainView)
        mine = count if decorated is on_class else method_decorator(count, name="dispatch")
        both = (method_decorator(opt_out, name="dispatch"), mine)
        for each in reversed(both if on_top else both[::-1]):
            cls = each(cls)
        view = cls.as_view(body=work_and_fail)
    serve(view)
    for n in (1, 2):
        assert client.post("/").status_code == 500
        assert (persist.get("calls"), persist.get("work")) == (n, n)


def test_two_decorators_share_one_transaction(using: str, serve: Serve) -> None:
    serve(
        function(work_and_fail, lambda view: count(Strict()(view))),
        api=method_decorator([count, Strict()], name="dispatch")(
            new(Api, body=staticmethod(work_and_fail))
        ).as_view(),
    )
    assert check_views() == []
    for n, path in enumerate(["/", "/api"], start=1):
        assert client.post(path).status_code == 500
        assert (persist.get("calls"), persist.get("work")) == (2 * n, None)


def test_a_strict_decorator_is_the_innermost(open_store: OpenStore, serve: Serve) -> None:
    open_store("memory")
    for view in (function(HttpResponse), count(new(PlainView))):
        with pytest.raises(TypeError, match="Let Strict be the innermost"):
            Strict()(view)
    inside = count(new(PlainView, body=HttpResponse))
    serve(method_decorator(Strict(), name="dispatch")(inside).as_view())
    with pytest.raises(TypeError, match="Let Strict be the innermost"):
        Client().post("/")
    assert persist.count() == 0


def hide(view: Any) -> Any:
    """Decorate as someone who has not heard of functools.wraps."""

    def hidden(request: Any) -> Any:
        return view(request)

    return hidden


class Hiding:
    def __init__(self, view: Any) -> None:
        self.view = view

    def __call__(self, request: Any) -> Any:
        return self.view(request)


class Overridden(count(new(PlainView))):  # type: ignore[misc]
    def dispatch(self, request: Any) -> Any:
        return super().dispatch(request)


INSIDE: dict[str, Callable[[Body], Any]] = {
    "hidden": lambda body: hide(function(body)),
    "in a partial": lambda body: partial(function(body)),
    "hidden in an object": lambda body: Hiding(function(body)),
    "on post": lambda body: method_decorator(count, name="post")(new(PlainView)).as_view(body=body),
    "dispatch overridden": lambda body: Overridden.as_view(body=body),
    "on an action": lambda body: method_decorator(count, name="create")(new(Set)).as_view(
        {"post": "create"}, body=body
    ),
    "below api_view": lambda body: api_view(["POST"])(function(body)),
    "hidden below another": lambda body: count(hide(function(body))),
}
each_inside = pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE.keys())


@each_inside
def test_a_view_inside_the_transaction_is_refused(using: str, serve: Serve, inside: Any) -> None:
    view = inside(lambda: HttpResponse(str(persist.incr("work"))))
    serve(view)
    assert [error.id for error in check_views()] == ["django_persist.E015"]
    with pytest.raises(ImproperlyConfigured, match="functools.wraps"):
        Client().post("/")
    assert persist.get("work") is None
    # The fix that the message names.
    serve(transaction.non_atomic_requests(using)(view))
    assert check_views() == []
    assert client.post("/").status_code == 200
    assert persist.get("work") == 1


@each_inside
def test_a_store_outside_the_transaction_minds_none(
    open_store: OpenStore, atomic_requests: Any, serve: Serve, inside: Any
) -> None:
    open_store("memory")
    atomic_requests("default")
    serve(inside(lambda: HttpResponse(str(persist.incr("work")))))
    assert check_views() == []
    assert client.post("/").status_code == 200


def test_a_strict_decorator_minds_the_transactions_of_other_databases(
    open_store: OpenStore, atomic_requests: Any, serve: Serve
) -> None:
    open_store("memory")
    atomic_requests("default")
    serve(hide(function(HttpResponse, Strict())))
    assert [error.id for error in check_views()] == ["django_persist.E015"]
    with pytest.raises(ImproperlyConfigured):
        Client().post("/")
    assert persist.get("calls") is None


@pytest.mark.parametrize("atomic", [True, False])
def test_a_decorator_that_needs_a_finished_response_is_refused_inside_drf(
    open_store: OpenStore, atomic_requests: Any, serve: Serve, atomic: bool
) -> None:
    open_store("memory")
    if atomic:
        atomic_requests("default")
    strict = method_decorator(Strict(), name="create")(new(Set))
    serve(
        strict.as_view({"post": "create"}, body=Response),
        below=api_view(["POST"])(function(Response, Strict())),
    )
    assert [error.id for error in check_views()] == ["django_persist.E015"] * 2
    for path in ("/", "/below"):
        with pytest.raises(ImproperlyConfigured):
            Client().post(path)
    assert persist.get("calls") is None


def test_a_call_within_a_transaction_is_refused(
    using: str, serve: Serve, open_store: OpenStore
) -> None:
    serve(function(HttpResponse))
    with transaction.atomic(using), pytest.raises(ImproperlyConfigured, match=repr(using)):
        Client().post("/")
    assert persist.get("calls") is None
    if connections[using].vendor != "sqlite":
        with alias("aside", another(using, ATOMIC_REQUESTS=False)), transaction.atomic("aside"):
            assert client.post("/").status_code == 200
    connections[using].set_autocommit(False)
    try:
        with pytest.raises(ImproperlyConfigured):
            Client().post("/")
    finally:
        connections[using].set_autocommit(True)


def test_a_driver_of_the_project_that_joins_a_transaction(
    open_store: OpenStore, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = open_store("memory").driver
    serve(function(HttpResponse))
    assert client.post("/").status_code == 200
    monkeypatch.setattr(driver, "in_transaction", lambda: True)
    with pytest.raises(ImproperlyConfigured, match="inside a transaction of the store"):
        Client().post("/")
    assert persist.get("calls") == 1


@pytest.mark.parametrize("decorated", [*DJANGO, *DRF])
@pytest.mark.django_db
def test_in_a_test_case_it_works_as_in_production(
    atomic_requests: Any, serve: Serve, decorated: Any, settings: Any
) -> None:
    using = "default"
    atomic_requests(using)
    assert connections[using].in_atomic_block

    serve(decorated(work_and_fail))
    assert client.post("/").status_code == 500
    assert (persist.get("calls"), persist.get("work")) == (1, None)
    with TestCase.captureOnCommitCallbacks(using=using, execute=True) as callbacks:

        def work() -> HttpResponseBase:
            transaction.on_commit(lambda: None)
            return Response() if decorated in DRF else HttpResponse()

        serve(decorated(work))
        assert client.post("/").status_code == 200
    assert len(callbacks) == 1


def test_an_async_view_is_refused_where_it_is_decorated(open_store: OpenStore, serve: Any) -> None:
    open_store("memory")

    async def view(request: Any) -> HttpResponse:
        return HttpResponse()

    class Async(View):
        async def post(self, request: Any) -> HttpResponse:
            return HttpResponse(str(persist.incr("work")))

    for each in (view, Async):
        with pytest.raises(TypeError, match="async"):
            count(each)
    # Django hands a dummy to method_decorator's decorator until a request comes.
    serve(method_decorator(count, name="dispatch")(Async).as_view())
    assert [error.id for error in check_views()] == ["django_persist.E015"]
    with pytest.raises(TypeError, match="async"):
        async_to_sync(AsyncClient().post)("/")
    assert persist.count() == 0


def test_manage_check_reports_it(
    open_store: OpenStore, atomic_requests: Callable[[str], None], serve: Serve
) -> None:
    open_store("sqlite")
    atomic_requests("default")
    serve(hide(function(HttpResponse)))
    with pytest.raises(SystemCheckError, match=r"E015\) Count decorates \S+hide\S+ inside a trans"):
        call_command("check")


def test_the_check_minds_neither_invalid_stores_nor_odd_closures(
    settings: Any, atomic_requests: Callable[[str], None], serve: Serve
) -> None:
    def not_yet_defined(request: Any) -> Any:
        return later

    serve(hide(function(HttpResponse)), other=not_yet_defined)
    atomic_requests("default")
    settings.PERSIST = {"default": {"BACKEND": "nothing.Here"}}  # check_settings reports it.
    assert check_views() == []
    later = None


def test_the_check_minds_no_class_that_a_view_only_knows(using: str, serve: Serve) -> None:
    class Other:
        view = hide(function(HttpResponse))

    serve(lambda request: HttpResponse(repr(Other)))
    assert check_views() == []


def test_a_class_that_is_no_view_is_refused() -> None:
    with pytest.raises(TypeError, match="dispatch"):
        count(dict)


def test_a_store_of_the_decorators_own(open_store: OpenStore, atomic_requests: Any) -> None:
    store = open_store("sqlite")
    atomic_requests("default")
    mine = Count()
    mine.store = store.namespace("mine")
    assert mine.stands_outside("default", mine.store)
    assert not mine.stands_outside("postgresql", mine.store)
