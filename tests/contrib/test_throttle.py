"""PersistThrottle under the real Django REST framework."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test import Client
from django.utils.decorators import method_decorator
from rest_framework.decorators import action, api_view, throttle_classes
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import Store, persist
from django_persist.contrib._checks import check_views
from django_persist.contrib.rate_limit import RateLimit
from django_persist.contrib.rest import IdempotencyMixin, PersistThrottle
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias, another
from tests.conftest import DATABASE, DATABASE_SERVERS, OpenStore
from tests.contrib.conftest import Advance, Serve
from tests.processes import race
from tests.recipes.helpers import EIGHT


class Fixed(PersistThrottle):
    scope = "fixed"
    rate = "100/h"


class Login(PersistThrottle):
    scope = "login"


class Ping(APIView):
    authentication_classes = ()
    throttle_classes = (Login,)

    def post(self, request: Any) -> Response:
        return Response({"pong": request.persist.incr("work")})


class Forbidden(Ping):
    def post(self, request: Any) -> Response:
        request.persist.incr("work")
        raise PermissionDenied


def with_throttle(base: type, *throttles: type, **more: Any) -> Any:
    return type("New", (base,), {"throttle_classes": throttles, **more})


@pytest.fixture
def rates(settings: Any) -> Callable[..., None]:
    """A function that sets the rates of scopes."""

    def rates_(**rates: str | None) -> None:
        framework = getattr(settings, "REST_FRAMEWORK", {})
        settings.REST_FRAMEWORK = {**framework, "DEFAULT_THROTTLE_RATES": rates}

    return rates_


client = Client()


def statuses(number: int, path: str = "/", **headers: Any) -> list[int]:
    return [client.post(path, **headers).status_code for _ in range(number)]


def ask(i: int) -> list[int]:
    view = Ping.as_view(throttle_classes=[Fixed])
    found = []
    for _ in range(40):
        request: Any = APIRequestFactory().post("/")
        request.persist = persist
        found.append(view(request).status_code)
    return found


def test_exactly_as_many_requests_of_eight_processes_pass(shared_store: Store) -> None:
    answers = [status for each in race(ask, processes=EIGHT) for status in each]
    assert Counter(answers) == {200: 100, 429: EIGHT * 40 - 100}


@pytest.mark.parametrize("sliding", [False, True])
def test_a_throttled_request_is_told_how_long_to_wait(
    store: Store, serve: Serve, rates: Any, advance: Advance, sliding: bool
) -> None:
    rates(login="2/20s")
    serve(with_throttle(Ping, type("Slow", (Login,), {"sliding": sliding})).as_view())
    left = 10 if sliding else 20
    for remaining in (1, 0):
        response = client.post("/")
        assert response.status_code == 200
        assert response["RateLimit"].startswith(f'"login";r={remaining};t=')
        assert response["RateLimit-Policy"] == '"login";q=2;w=20'
    response = client.post("/")
    assert response.status_code == 429
    assert left - 5 < int(response["Retry-After"]) <= left
    assert "throttled" in response.json()["detail"]
    assert response["RateLimit"] == f'"login";r=0;t={response["Retry-After"]}'
    advance(left)
    assert statuses(3) == ([200, 429, 429] if sliding else [200, 200, 429])


def test_several_throttles(open_store: OpenStore, serve: Serve, rates: Any) -> None:
    open_store("memory")
    rates(login="2/m", burst="9/h")
    serve(
        with_throttle(Ping, Login, type("Burst", (PersistThrottle,), {"scope": "burst"})).as_view()
    )
    client.post("/")
    client.post("/")
    response = client.post("/")
    assert response.status_code == 429
    assert response["RateLimit"] == '"login";r=0;t=60, "burst";r=6;t=3600'
    assert response["Retry-After"] == "60"
    # A limit of that name shares the count.
    assert RateLimit("9/h", name="burst").peek("127.0.0.1").remaining == 6


def test_the_scope_of_a_view(open_store: OpenStore, serve: Serve, rates: Any) -> None:
    open_store("memory")
    rates(one="1/m", two="2/m", none=None)

    class Set(ViewSet):
        authentication_classes = ()
        throttle_classes = (PersistThrottle,)
        throttle_scope = None

        @action(methods=["post"], detail=False, throttle_scope="two")
        def buy(self, request: Any) -> Response:
            return Response()

    serve(
        Ping.as_view(throttle_classes=[PersistThrottle]),
        one=with_throttle(Ping, PersistThrottle, throttle_scope="one").as_view(),
        two=Set.as_view({"post": "buy"}, **Set.buy.kwargs),
        none=with_throttle(Ping, PersistThrottle, throttle_scope="none").as_view(),
    )
    assert check_views() == []
    assert statuses(3) == [200] * 3
    assert statuses(3, "/one") == [200, 429, 429]
    assert statuses(3, "/two") == [200, 200, 429]
    assert statuses(3, "/none") == [200] * 3


def test_functions(open_store: OpenStore, serve: Serve, rates: Any) -> None:
    open_store("memory")
    rates(login="1/m")

    @api_view(["POST"])
    @throttle_classes([Login])
    def view(request: Any) -> Response:
        return Response()

    serve(view)
    assert statuses(2) == [200, 429]


def test_whom_it_counts(open_store: OpenStore, rates: Any, settings: Any) -> None:
    open_store("memory")
    rates(login="1/m")
    view = Ping.as_view()

    def ask_as(user: int | None = None, **meta: Any) -> int:
        request: Any = APIRequestFactory().post("/", **meta)
        request.persist = persist
        force_authenticate(request, User(pk=user) if user else None)
        return view(request).status_code

    assert [ask_as(1), ask_as(1), ask_as(2), ask_as(), ask_as()] == [200, 429, 200, 200, 429]
    # Without NUM_PROXIES the header, which the client can write, makes no difference.
    assert ask_as(HTTP_X_FORWARDED_FOR="203.0.113.9") == 429
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    assert ask_as(HTTP_X_FORWARDED_FOR="203.0.113.9") == 200
    assert ask_as(HTTP_X_FORWARDED_FOR="forged, 203.0.113.9:1234") == 429
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 2}
    assert ask_as(HTTP_X_FORWARDED_FOR="203.0.113.10") == 429  # counted by REMOTE_ADDR


def test_a_caller_of_ones_own(open_store: OpenStore, serve: Serve, rates: Any) -> None:
    open_store("memory")
    rates(login="1/m")

    class ByName(Login):
        def get_caller(self, request: Any, view: Any) -> str | None:
            return request.data.get("name") or None

    serve(with_throttle(Ping, ByName).as_view())
    posts = [client.post("/", {"name": name}).status_code for name in ("a", "a", "b", "", "")]
    assert posts == [200, 429, 200, 200, 200]


def test_without_a_store(unreachable_store: None, serve: Serve, rates: Any) -> None:
    rates(login="1/m")
    serve(
        with_throttle(Ping, Login, post=lambda self, request: Response()).as_view(),
        open=with_throttle(
            Ping,
            type("Open", (Login,), {"fail_open": True}),
            post=lambda self, request: Response(),
        ).as_view(),
    )
    with pytest.raises(StoreUnavailableError):
        client.post("/")
    assert statuses(2, "/open") == [200, 200]
    assert "RateLimit" not in client.post("/open")


@pytest.mark.parametrize(
    ("rates_", "message"),
    [({}, "no rate for 'login'"), ({"login": "5/month"}, "'5/month'"), ({"login": 5}, "5")],
)
def test_a_scope_without_a_valid_rate(
    open_store: OpenStore, serve: Serve, rates: Any, rates_: Any, message: str
) -> None:
    open_store("memory")
    rates(**rates_)
    serve(Ping.as_view())
    [error] = check_views()
    assert (error.id, message in error.msg) == ("django_persist.E015", True)
    with pytest.raises(ImproperlyConfigured, match=message):
        client.post("/")


# Inside the transaction of ATOMIC_REQUESTS.


@pytest.fixture
def using(database: str, open_store: OpenStore, atomic_requests: Any, rates: Any) -> str:
    """The alias of each database in turn, with ATOMIC_REQUESTS and the default store."""
    rates(login="3/h")
    name = str(open_store(database).driver.using)  # type: ignore[attr-defined]
    atomic_requests(name)
    return name


@pytest.mark.parametrize("kind", ["class", "as_view", "ViewSet", "function", "default", "around"])
def test_a_count_that_could_be_rolled_back_is_refused(
    using: str, serve: Serve, settings: Any, kind: str
) -> None:
    if kind == "function":

        @api_view(["POST"])
        @throttle_classes([Login])
        def function(request: Any) -> Response:
            return Response(request.persist.incr("work"))

        view: Any = function
    elif kind == "ViewSet":
        view = with_throttle(ViewSet, Login, create=Ping.post).as_view({"post": "create"})
    elif kind == "as_view":
        view = with_throttle(Ping).as_view(throttle_classes=[Login])
    elif kind == "around":
        # The limit stands outside the transaction, but the throttle inside.
        view = RateLimit("9/h", name="around")(with_throttle(Ping, Login)).as_view()
    else:
        view = Ping.as_view()
    serve(view)
    [error] = check_views()
    assert error.id == "django_persist.E015"
    for part in ("Login", repr(using), "rollback"):
        assert part in error.msg
    assert "non_atomic_requests" in str(error.hint)
    with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
        client.post("/")
    assert persist.get("work") is None
    assert not list(persist.keys("rate:login:"))


def test_a_view_that_opted_out_is_throttled(using: str, serve: Serve) -> None:
    serve(
        transaction.non_atomic_requests(using)(Forbidden.as_view()),
        dispatch=method_decorator(transaction.non_atomic_requests(using), name="dispatch")(
            with_throttle(Forbidden, Login)
        ).as_view(),
    )
    assert check_views() == []
    assert statuses(3) == [403, 403, 403]
    assert statuses(2) == statuses(2, "/dispatch") == [429, 429]


def test_a_limit_around_the_view_is_right_instead(using: str, serve: Serve) -> None:
    limit = RateLimit("3/h", name="login")
    serve(method_decorator(limit, name="dispatch")(with_throttle(Forbidden)).as_view())
    assert check_views() == []
    assert statuses(5) == [403] * 3 + [429] * 2
    assert persist.get("work") is None


def test_idempotent_views_are_throttled_before_their_transaction(using: str, serve: Serve) -> None:
    class Orders(IdempotencyMixin, Forbidden):
        pass

    serve(Orders.as_view())
    assert check_views() == []
    headers = {"HTTP_IDEMPOTENCY_KEY": '"a"'}
    assert statuses(4, **headers) == [403] * 3 + [429]
    assert persist.get("work") is None


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_a_store_by_another_alias_counts(
    server: str, open_store: OpenStore, atomic_requests: Any, rates: Any, serve: Serve
) -> None:
    rates(login="3/h")
    store = open_store(server)
    atomic_requests(server)
    with alias("aside", another(server, ATOMIC_REQUESTS=False)) as name:
        elsewhere = Store(type(store.driver)(using=name))  # type: ignore[call-arg]
        serve(with_throttle(Forbidden, type("Aside", (Login,), {"store": elsewhere})).as_view())
        assert check_views() == []
        assert statuses(5) == [403] * 3 + [429] * 2
        assert persist.get("work") is None


def test_a_store_elsewhere_counts(
    open_store: OpenStore, atomic_requests: Any, rates: Any, serve: Serve
) -> None:
    rates(login="3/h")
    open_store("memory")
    atomic_requests("default")
    serve(Forbidden.as_view())
    assert check_views() == []
    assert statuses(5) == [403] * 3 + [429] * 2


def test_other_throttles_are_left_alone(
    open_store: OpenStore, atomic_requests: Any, serve: Serve, settings: Any
) -> None:
    from rest_framework.throttling import AnonRateThrottle

    open_store("sqlite")
    atomic_requests("default")
    serve(with_throttle(Ping, type("Anon", (AnonRateThrottle,), {"rate": "9/m"})).as_view())
    assert check_views() == []
    settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": "nowhere"}}}
    serve(Ping.as_view())
    assert [error.id for error in check_views() if "throttles" in error.msg] == []
    connections["default"].close()
