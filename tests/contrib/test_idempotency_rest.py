"""Idempotency under Django REST framework: callers, errors, uploads, the browsable API."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework import serializers
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
    TokenAuthentication,
)
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.throttling import BaseThrottle
from rest_framework.versioning import AcceptHeaderVersioning
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import persist
from django_persist.contrib._views import Call, ViewDecorator
from django_persist.contrib.idempotency import IdempotencyKey
from django_persist.contrib.rest import IdempotencyMixin
from tests.conftest import OpenStore
from tests.contrib.conftest import Serve

USERS = {name: User(pk=pk, username=name) for pk, name in enumerate(["ada", "bob"], start=1)}
KEY = {"Idempotency-Key": "a"}
calls: list[str] = []


@pytest.fixture(autouse=True)
def memory(open_store: OpenStore) -> None:
    open_store("memory")
    calls.clear()


class Tokens(TokenAuthentication):
    """TokenAuthentication, with a table of its own."""

    def authenticate_credentials(self, key: str) -> Any:
        calls.append("authenticate")
        if key not in USERS:
            raise AuthenticationFailed("Invalid token.")
        return USERS[key], key


class ApiKeys(BaseAuthentication):
    """Finds the user by a header that nobody else knows of."""

    def authenticate(self, request: Any) -> Any:
        name = request.headers.get("X-Api-Key")
        return (USERS[name], None) if name else None


class Allowed(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return "forbid" not in calls


class Throttle(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        calls.append("throttle")
        return calls.count("throttle") < 4


def place(request: Any) -> Response:
    name = getattr(request.user, "username", "")
    return Response({"order": persist.incr("orders"), "user": name}, status=201)


class Orders(APIView):
    authentication_classes = (SessionAuthentication, Tokens, ApiKeys)
    permission_classes = (IsAuthenticated,)
    idempotency = IdempotencyKey()

    def post(self, request: Any) -> Response:
        return place(request)

    patch = post


class OrderSet(ViewSet):
    authentication_classes = (SessionAuthentication, Tokens, ApiKeys)
    permission_classes = (IsAuthenticated,)

    def create(self, request: Any) -> Response:
        return place(request)


@api_view(["POST"])
@authentication_classes([SessionAuthentication, Tokens, ApiKeys])
@permission_classes([IsAuthenticated])
def orders(request: Any) -> Response:
    return place(request)


def new(*bases: type, **attributes: Any) -> Any:
    return type("New", bases, attributes)


once = IdempotencyKey()
VIEWS: dict[str, Any] = {
    "mixin": new(IdempotencyMixin, Orders).as_view(),
    "viewset mixin": new(IdempotencyMixin, OrderSet).as_view({"post": "create"}),
    "dispatch": method_decorator(once, name="dispatch")(new(Orders)).as_view(),
    "class": once(new(OrderSet)).as_view({"post": "create"}),
    "as_view": once(OrderSet.as_view({"post": "create"})),
    "api_view": once(orders),
}
each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def order(client: Client, /, data: Any = None, **headers: str) -> Any:
    return client.post("/", data or {}, headers={**KEY, **headers})


@each_view
def test_callers_are_those_that_drf_finds(serve: Serve, view: Any) -> None:
    """By a token and by a header that only the view's authenticator knows."""
    serve(view)
    for _ in range(2):
        for number, name in enumerate(["ada", "bob"], start=1):
            headers = [{"Authorization": f"Token {name}"}, {"X-Api-Key": name}]
            answers = [order(Client(), **each) for each in headers]
            assert [answer.status_code for answer in answers] == [201] * 2
            assert [answer.json() for answer in answers] == [{"order": number, "user": name}] * 2
    assert order(Client(), Authorization="Token eve").status_code == 403
    assert order(Client()).status_code == 403
    assert persist.get("orders") == 2
    assert persist.count("idempotency:") == 2


@pytest.mark.django_db
@each_view
def test_callers_with_a_session(serve: Serve, view: Any) -> None:
    serve(view)
    for _ in range(2):
        for number, name in enumerate(["ada", "bob"], start=1):
            user, _ = User.objects.get_or_create(username=name)
            client = Client()
            client.force_login(user)
            assert [order(client).json() for _ in range(2)] == [{"order": number, "user": name}] * 2
    # SessionAuthentication asks for a CSRF token, and without one nothing is claimed or repeated.
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    answer = order(strict)
    assert (answer.status_code, answer.json()["detail"][:11]) == (403, "CSRF Failed")
    # A token authenticates each time as itself, not as a session.
    answer = order(Client(enforce_csrf_checks=True), Authorization="Token ada")
    assert answer.status_code == 201


@pytest.mark.django_db
@each_view
def test_a_form_with_a_csrf_token_and_a_file(serve: Serve, view: Any) -> None:
    """SessionAuthentication parses the form before anything else reads it."""
    serve(view)
    user = User.objects.create(username="ada")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    token = "a" * 32
    client.cookies["csrftoken"] = token

    def upload(content: bytes) -> Any:
        file = SimpleUploadedFile("a.txt", content)
        return order(client, {"csrfmiddlewaretoken": token, "file": file})

    assert [upload(b"AAAA").status_code for _ in range(2)] == [201, 201]
    assert upload(b"BBBB").status_code == 422
    assert persist.get("orders") == 1


@each_view
def test_refusals(serve: Serve, view: Any) -> None:
    serve(view)
    client = Client(headers={"Authorization": "Token ada"})
    assert client.post("/").status_code == 400
    assert order(client, {"a": 1}).status_code == 201
    assert order(client, {"a": 2}).status_code == 422
    assert persist.get("orders") == 1


@each_view
def test_what_the_headers_accept_is_no_answer_to_keep(serve: Serve, view: Any) -> None:
    serve(view)
    client = Client(headers={"Authorization": "Token ada"})
    assert order(client, Accept="image/png").status_code == 406
    assert order(client, Accept="application/json").status_code == 201


class ByVersion(ApiKeys):
    def authenticate(self, request: Any) -> Any:
        return super().authenticate(request) if request.version == "1" else None


def test_authenticators_see_what_drf_knows_before_them(serve: Serve) -> None:
    kind = new(Orders, authentication_classes=[ByVersion], versioning_class=AcceptHeaderVersioning)
    serve(once(kind.as_view()), mixin=new(IdempotencyMixin, kind).as_view())
    for where in ("/", "/mixin"):
        statuses = [
            Client()
            .post(
                where,
                headers={**KEY, "X-Api-Key": "ada", "Accept": f"application/json; version={each}"},
            )
            .status_code
            for each in (1, 2, 1)
        ]
        assert statuses == [201, 403, 201]
    assert persist.get("orders") == 2


@each_view
def test_one_view_runs_while_another_waits(serve: Serve, view: Any, monkeypatch: Any) -> None:
    serve(view)
    client = Client(headers={"Authorization": "Token ada"})
    seen: list[int] = []

    def slow(request: Any) -> Response:
        seen.append(order(client).status_code)
        return Response()

    monkeypatch.setitem(globals(), "place", slow)
    assert order(client).status_code == 200
    assert seen == [409]


def test_the_mixin_authenticates_once_and_checks_before_it_repeats(serve: Serve) -> None:
    throttled = new(
        IdempotencyMixin,
        Orders,
        authentication_classes=[Tokens],
        permission_classes=[Allowed],
        throttle_classes=[Throttle],
    )
    serve(throttled.as_view())
    client = Client(headers={"Authorization": "Token ada"})
    assert order(client).status_code == 201
    assert calls == ["authenticate", "throttle"]
    assert order(client).status_code == 201
    assert calls == ["authenticate", "throttle"] * 2
    calls.append("forbid")
    assert order(client).status_code == 403
    calls.remove("forbid")
    assert [order(client).status_code for _ in range(2)] == [201, 429]
    assert persist.get("orders") == 1


def test_errors_of_the_mixin_are_drfs(serve: Serve, monkeypatch: Any) -> None:
    view = new(
        IdempotencyMixin,
        Orders,
        idempotency=IdempotencyKey(max_request_bytes=100),
        get_exception_handler=lambda self: handler,
    )
    seen: list[str] = []

    def handler(error: Any, context: Any) -> Response:
        seen.append(error.get_codes())
        return Response({"error": str(error.detail)}, status=error.status_code)

    serve(view.as_view())
    client = APIClient(headers={"Authorization": "Token ada"})
    without = client.post("/", {})
    assert without.status_code == 400
    assert without.json() == {"error": "This needs the header Idempotency-Key."}
    too_large = client.post("/", {"a": "b" * 200}, headers=KEY)
    assert (too_large.status_code, too_large["Content-Type"]) == (413, "application/json")
    assert seen == ["idempotency_key"] * 2
    assert persist.count() == 0


class Upload(serializers.Serializer[Any]):
    amount = serializers.IntegerField()
    file = serializers.FileField()


class Uploads(APIView):
    authentication_classes = ()

    def post(self, request: Any) -> Response:
        upload = Upload(data=request.data)
        upload.is_valid(raise_exception=True)
        content = upload.validated_data["file"].read()
        return Response({"read": content.decode(), "runs": persist.incr("runs")})

    patch = post


@pytest.mark.parametrize("method", ["post", "patch"])
@pytest.mark.parametrize(
    "view",
    [new(IdempotencyMixin, Uploads).as_view(), once(new(Uploads)).as_view()],
    ids=["mixin", "class"],
)
def test_uploads_count_by_their_content(serve: Serve, view: Any, method: str) -> None:
    serve(view)

    def send(content: str, amount: str = "5") -> Any:
        file = SimpleUploadedFile("a.txt", content.encode())
        send = getattr(APIClient(headers=KEY), method)
        return send("/", {"amount": amount, "file": file}, format="multipart")

    assert [send("AAAA").json() for _ in range(2)] == [{"read": "AAAA", "runs": 1}] * 2
    assert send("BBBB").status_code == 422
    assert send("AAAA", "6").status_code == 422


def test_an_invalid_request_is_answered_with_its_400_again(serve: Serve) -> None:
    serve(new(IdempotencyMixin, Uploads).as_view())
    client = APIClient(headers=KEY)
    answers = [client.post("/", {"amount": "x"}, format="json") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json() != {}
    assert persist.count("idempotency:") == 1


def test_a_permission_may_read_the_body(serve: Serve) -> None:
    class Reads(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            return bool(request.data["amount"])

    serve(new(IdempotencyMixin, Orders, permission_classes=[Reads]).as_view())
    client = APIClient(headers=KEY)
    for kind in ("json", "multipart"):
        key = {"Idempotency-Key": kind}
        answers = [
            client.post("/", {"amount": amount}, format=kind, headers=key) for amount in (5, 5, 6)
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 422]


@pytest.fixture
def browsable(settings: Any) -> Client:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework"]
    return Client(headers={"Accept": "text/html", "X-Api-Key": "ada"})


@pytest.mark.django_db
def test_the_browsable_api(serve: Serve, browsable: Client) -> None:
    serve(
        new(IdempotencyMixin, Orders, get=lambda self, request: Response()).as_view(),
    )
    assert "POST" in browsable.get("/").content.decode()
    # Its forms can't send the header.
    for number in (1, 2):
        page = browsable.post("/", {})
        assert (page.status_code, page["Content-Type"]) == (201, "text/html; charset=utf-8")
        assert f"&quot;order&quot;: {number}" in page.content.decode()
    # A client that asks for HTML can.
    pages = [browsable.post("/", {}, headers=KEY) for _ in range(2)]
    assert [page.status_code for page in pages] == [201, 201]
    assert pages[0].content == pages[1].content
    assert persist.get("orders") == 3
    refused = browsable.post("/", {"a": 1}, headers=KEY)
    assert refused.status_code == 422
    assert "This Idempotency-Key was used for another request." in refused.content.decode()


def test_a_router_and_actions(serve: Serve, settings: Any) -> None:
    router = SimpleRouter()
    router.register("orders", new(IdempotencyMixin, OrderSet), basename="order")
    settings.ROOT_URLCONF = tuple(router.urls)
    client = Client(headers={**KEY, "Authorization": "Token ada"})
    assert [client.post("/orders/").json()["order"] for _ in range(2)] == [1, 1]


def test_as_view_and_actions_take_settings_of_their_own(serve: Serve, settings: Any) -> None:
    own = IdempotencyKey(required=False, scope=lambda request: "one for all")

    class Actions(IdempotencyMixin, OrderSet):
        @action(detail=False, methods=["post"], idempotency=own)
        def refund(self, request: Any) -> Response:
            return place(request)

    router = SimpleRouter()
    router.register("orders", Actions, basename="order")
    views = path("own/", new(IdempotencyMixin, Orders).as_view(idempotency=own))
    settings.ROOT_URLCONF = (*router.urls, views)
    assert APIClient(headers={"X-Api-Key": "ada"}).post("/orders/").status_code == 400
    for where in ("/own/", "/orders/refund/"):
        assert APIClient(headers={"X-Api-Key": "ada"}).post(where).status_code == 201
        clients = [APIClient(headers={**KEY, "X-Api-Key": name}) for name in ("ada", "bob")]
        assert [client.post(where).json()["user"] for client in clients] == ["ada"] * 2


def test_the_methods_that_are_safe_are_not_concerned(serve: Serve) -> None:
    def get(self: Any, request: Any) -> Response:
        return place(request)

    serve(new(IdempotencyMixin, Orders, get=get, put=get).as_view())
    client = Client(headers={**KEY, "Authorization": "Token ada"})
    for method in (client.get, client.put):
        assert [method("/").status_code for _ in range(2)] == [201, 201]
    assert persist.get("orders") == 4
    assert client.options("/").status_code == 200
    assert client.delete("/").status_code == 405


def test_a_scope_gets_drfs_request(serve: Serve) -> None:
    def tenant(request: Any) -> str:
        return f"{request.user.username} {request.query_params.get('tenant')}"

    view = new(IdempotencyMixin, Orders, idempotency=IdempotencyKey(scope=tenant))
    serve(view.as_view(), decorated=IdempotencyKey(scope=tenant)(Orders.as_view()))
    client = Client(headers={**KEY, "Authorization": "Token ada"})
    assert [client.post("/").json()["order"] for _ in range(2)] == [1, 1]
    assert [client.post("/?tenant=b").json()["order"] for _ in range(2)] == [2, 2]
    assert [client.post("/decorated").json()["order"] for _ in range(2)] == [3, 3]


def test_a_caller_whom_drf_refuses_gets_no_stored_answer(serve: Serve) -> None:
    """Even if the scope doesn't ask who it is."""
    shared = IdempotencyKey(scope=lambda request: "one for all")
    serve(
        shared(Orders.as_view()),
        mixin=new(IdempotencyMixin, Orders, idempotency=shared).as_view(),
    )
    for where in ("/", "/mixin"):
        statuses = [
            Client().post(where, headers={**KEY, "Authorization": f"Token {name}"}).status_code
            for name in ("ada", "ada", "eve")
        ]
        assert statuses == [201, 201, 403]


def test_the_users_of_drf_have_no_session_afterwards(serve: Serve, settings: Any) -> None:
    """Without AuthenticationMiddleware, too: SessionAuthentication asks them for a CSRF token."""
    settings.MIDDLEWARE = ["django_persist.middleware.PersistMiddleware"]
    serve(once(Orders.as_view()))
    client = Client(enforce_csrf_checks=True, headers={"Authorization": "Token ada"})
    assert [order(client).status_code for _ in range(2)] == [201, 201]


def test_a_plain_response_of_a_drf_view(serve: Serve) -> None:
    def post(self: Any, request: Any) -> HttpResponse:
        return HttpResponse(str(persist.incr("orders")), content_type="text/plain")

    serve(new(IdempotencyMixin, Orders, post=post).as_view())
    client = Client(headers={**KEY, "Authorization": "Token ada"})
    assert [client.post("/").content for _ in range(2)] == [b"1", b"1"]


def test_basic_authentication_challenges_as_without_a_key(serve: Serve) -> None:
    class Basic(BasicAuthentication):
        def authenticate_credentials(self, name: str, password: str, request: Any = None) -> Any:
            raise AuthenticationFailed("Invalid username/password.")

    class Text(BaseRenderer):
        media_type, format, charset = "text/plain", "txt", "utf-8"

        def render(self, data: Any, media_type: Any = None, context: Any = None) -> bytes:
            return str(data["detail"]).encode()

    renderers = [JSONRenderer, Text]
    plain = new(Orders, authentication_classes=[Basic], renderer_classes=renderers)
    serve(
        plain.as_view(),
        decorated=once(plain.as_view()),
        mixin=new(IdempotencyMixin, plain).as_view(),
    )
    credentials = base64.b64encode(b"ada:wrong").decode()
    client = Client(
        headers={**KEY, "Authorization": f"Basic {credentials}", "Accept": "text/plain"}
    )
    expected = client.post("/")
    assert (expected.status_code, expected["WWW-Authenticate"]) == (401, 'Basic realm="api"')
    assert expected.content == b"Invalid username/password."
    for where in ("/decorated", "/mixin"):
        answer = client.post(where)
        assert (answer.status_code, answer.content) == (401, expected.content)
        assert dict(answer.items()) == dict(expected.items())
    assert persist.count() == 0


def test_the_mixin_comes_before_drfs_class() -> None:
    for base in (APIView, ViewSet, Orders):
        with pytest.raises(TypeError, match="must come before"):
            new(base, IdempotencyMixin)


def test_the_mixin_is_inside_other_decorators(serve: Serve) -> None:
    class Count(ViewDecorator):
        def around(self, request: Any, call: Call) -> Any:
            request.persist.incr("calls")
            return call()

    serve(Count()(new(IdempotencyMixin, Orders).as_view()))
    client = Client(headers={**KEY, "Authorization": "Token ada"})
    assert [client.post("/").json()["order"] for _ in range(2)] == [1, 1]
    assert persist.get("calls") == 2
    with pytest.raises(TypeError, match="Let IdempotencyMixin be the innermost"):
        Count()(new(IdempotencyMixin, Orders)).as_view()


def test_a_view_without_its_middleware_says_what_is_missing() -> None:
    request = APIRequestFactory().post("/", {}, headers=KEY)
    with pytest.raises(AttributeError, match="persist"):
        VIEWS["mixin"](request)
