"""Rate limits: exact under any race, and outside the transaction of the view."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.exceptions import PermissionDenied as ApiPermissionDenied
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import Store, persist, stores
from django_persist.contrib.rate_limit import RateLimit, Usage, address, header, parse_rate, user
from django_persist.exceptions import DecodeError, InvalidKeyError, StoreUnavailableError
from django_persist.http import HttpRequest
from testproject.site.page import KNOCKS_ALLOWED
from tests import extent, servers
from tests.aliases import alias, another, migrate
from tests.conftest import BACKENDS, DATABASE, MYSQLS, OpenStore
from tests.contrib.conftest import Advance, Serve, use_redis
from tests.processes import race
from tests.recipes.helpers import EIGHT, in_threads, make_request
from tests.servers.valkey_servers import ValkeyServer

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NONE = timedelta(0)

# The step of the sliding one is longer than the test.
FIXED = RateLimit(name="fixed", limit=100, window=HOUR)
SLIDING = RateLimit(name="sliding", limit=100, window=100 * HOUR, sliding=True)
both = pytest.mark.parametrize("limit", [FIXED, SLIDING], ids=["fixed", "sliding"])
each_way = pytest.mark.parametrize("sliding", [False, True], ids=["fixed", "sliding"])


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("passed")


def statuses(view: Any, number: int, **request: Any) -> list[int]:
    return [view(make_request(**request)).status_code for _ in range(number)]


# No moment lets one more through.


def ask(i: int, limit: str, number: int = 40) -> list[int]:
    return statuses({"fixed": FIXED, "sliding": SLIDING}[limit](answer), number)


@both
def test_exactly_limit_requests_of_eight_processes_pass(
    shared_store: Store, limit: RateLimit
) -> None:
    answers = [status for each in race(ask, limit.name, processes=EIGHT) for status in each]
    assert Counter(answers) == {200: limit.limit, 429: EIGHT * 40 - limit.limit}


@both
def test_exactly_limit_requests_of_eight_threads_pass(open_store: Any, limit: RateLimit) -> None:
    open_store("memory")
    answers = [status for each in in_threads(ask, limit.name) for status in each]
    assert Counter(answers) == {200: limit.limit, 429: EIGHT * 40 - limit.limit}


EDGE = timedelta(milliseconds=150)
EDGE_LIMIT = 20


def hammer(i: int, sliding: bool, seconds: float) -> tuple[float, float, list[Usage]]:
    """Hit a limit without a pause, over the edges of several windows."""
    limit = RateLimit(name="edge", limit=EDGE_LIMIT, window=EDGE, sliding=sliding)
    started, usages = time.monotonic(), []
    while time.monotonic() < started + seconds:
        usages.append(limit.hit("anyone"))
    return started, time.monotonic(), usages


@each_way
def test_no_edge_of_a_window_lets_one_more_through(shared_store: Store, sliding: bool) -> None:
    seconds = 5.0 if extent.LONG else 0.7
    runs = race(hammer, sliding, seconds, processes=EIGHT)
    elapsed = timedelta(seconds=max(end for _, end, _ in runs) - min(start for start, _, _ in runs))
    passed = [usage for _, _, usages in runs for usage in usages if usage.passed]
    if sliding:
        # A whole limit at once, and then one each 7.5 ms.
        assert EDGE_LIMIT < len(passed) <= EDGE_LIMIT + elapsed / (EDGE / EDGE_LIMIT)
        return
    by_remaining = Counter(usage.remaining for usage in passed)
    # Each window starts with one request after which all but one remain.
    windows = by_remaining[EDGE_LIMIT - 1]
    assert 2 <= windows <= elapsed / EDGE + 1
    assert max(by_remaining.values()) <= windows
    assert set(by_remaining) <= set(range(EDGE_LIMIT))


@pytest.fixture(params=["own postgresql", "valkey"])
def restart(
    request: pytest.FixtureRequest, settings: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Callable[[], None]]:
    """A function that kills and starts the private server of the default store."""
    server: servers.PostgreSQL | ValkeyServer
    if request.param == "valkey":
        server = ValkeyServer("--appendonly", "yes", "--appendfsync", "always")
    else:
        server = servers.PostgreSQL()
    server.start()

    def restart_() -> None:
        server.kill()
        server.start()

    if isinstance(server, ValkeyServer):
        use_redis(settings, server.url)
        yield restart_
        stores["default"].driver.close()
    else:
        with (
            django_db_blocker.unblock(),
            alias("private", servers.database(server.url)) as name,
        ):
            migrate(name)
            settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": name}}}
            yield restart_
    server.kill()


@each_way
def test_a_restart_of_the_server_lets_none_through(
    restart: Callable[[], None], sliding: bool
) -> None:
    limit = RateLimit("40/40h", name="kept", sliding=sliding)
    assert [limit.hit("a").passed for _ in range(20)] == [True] * 20
    stop, passed = Event(), []

    def hit_all_the_while() -> None:
        while not stop.is_set():
            try:
                passed.append(limit.hit("a").passed)
            except StoreUnavailableError:
                stop.wait(0.002)
            stop.wait(0.01)
        connections.close_all()

    threads = [Thread(target=hit_all_the_while) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        restart()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    passed += [patient(limit).passed for _ in range(25)]
    # A call whose answer was lost may have counted.
    assert 12 <= sum(passed) <= 20
    assert limit.peek("a").remaining == 0


def patient(limit: RateLimit) -> Usage:
    """Hit. The first call after a restart may find the connection cut."""
    try:
        return limit.hit("a")
    except StoreUnavailableError:
        return limit.hit("a")


# Time passes.


def test_the_page_refuses_until_the_window_ends(
    store: Store, client: Client, advance: Advance
) -> None:
    for _ in range(KNOCKS_ALLOWED):
        assert client.post("/knock").status_code == 302
    assert 8 <= int(client.post("/knock")["Retry-After"]) <= 10
    advance(4)
    response = client.post("/knock")
    assert response.status_code == 429
    assert 4 <= int(response["Retry-After"]) <= 6
    advance(6)
    assert client.post("/knock").status_code == 302


def test_a_fixed_window_ends_at_once(store: Store, advance: Advance) -> None:
    limit = RateLimit("3/h", name="all")
    assert [limit.hit("a").remaining for _ in range(4)] == [2, 1, 0, 0]
    advance(3590)
    refused = limit.hit("a")
    assert (refused.passed, refused.remaining) == (False, 0)
    assert NONE < refused.retry_after <= timedelta(seconds=10)
    advance(10)
    assert [limit.hit("a").passed for _ in range(4)] == [True] * 3 + [False]


def test_a_sliding_limit_allows_one_more_at_a_time(store: Store, advance: Advance) -> None:
    limit = RateLimit("3/h", name="one", sliding=True)
    assert [limit.hit("a").remaining for _ in range(3)] == [2, 1, 0]
    for _ in range(3):
        refused = limit.hit("a")
        assert not refused.passed
        assert timedelta(minutes=19) < refused.retry_after <= timedelta(minutes=20)
        advance(1180)
        assert not limit.hit("a").passed
        advance(20)
        allowed = limit.hit("a")
        assert (allowed.passed, allowed.remaining) == (True, 0)
        assert timedelta(minutes=19) < allowed.more_after <= timedelta(minutes=20)
    advance(2400)
    assert limit.peek("a").remaining == 2
    advance(1200)
    assert limit.peek("a") == Usage(True, 3, NONE)
    assert [limit.hit("a").passed for _ in range(4)] == [True] * 3 + [False]


def test_a_rate_that_does_not_divide_a_second_is_exact(store: Store, advance: Advance) -> None:
    limit = RateLimit("7/s", name="seven", sliding=True)
    limit_of_minutes = RateLimit("7/m", name="seven-a-minute", sliding=True)
    assert sum(limit_of_minutes.hit("a").passed for _ in range(10)) == 7
    passed = 0
    for _ in range(60):
        advance(1)
        passed += sum(limit_of_minutes.hit("a").passed for _ in range(2))
    assert 6 <= passed <= 8
    assert limit._step * limit.limit < timedelta(seconds=1, microseconds=8)


@each_way
def test_refused_requests_do_not_extend_the_wait(
    store: Store, advance: Advance, sliding: bool
) -> None:
    view = RateLimit(name="once", limit=1, window=MINUTE, sliding=sliding)(answer)
    view(make_request())
    for _ in range(3):
        advance(19)
        assert view(make_request()).status_code == 429
    advance(19)
    assert view(make_request()).status_code == 200


@each_way
def test_peek_counts_nothing(store: Store, sliding: bool) -> None:
    limit = RateLimit("2/h", name="peek", sliding=sliding)
    for used in range(2):
        for _ in range(3):
            seen = limit.peek("a")
            assert (seen.passed, seen.remaining) == (True, 2 - used)
        assert limit.hit("a")
    seen, refused = limit.peek("a"), limit.hit("a")
    assert (seen.passed, seen.remaining) == (refused.passed, refused.remaining) == (False, 0)
    assert abs(seen.retry_after - refused.retry_after) < MINUTE
    assert limit.reset("a") is True
    assert limit.reset("a") is False
    assert limit.peek("a") == Usage(True, 2, NONE)
    assert limit.hit("a")


@each_way
def test_a_call_is_one_statement(database: str, open_store: OpenStore, sliding: bool) -> None:
    connection = connections[open_store(database).driver.using]  # type: ignore[attr-defined]
    limit = RateLimit("2/h", name="cost", sliding=sliding)
    limit.hit("a")
    # MariaDB and MySQL return no row from a write: the end of a fixed window takes another read.
    expected = 2 if database in MYSQLS and not sliding else 1
    for _ in range(3):  # one of them is refused
        with CaptureQueriesContext(connection) as queries:
            limit.hit("a")
        assert len(queries) == expected


@each_way
def test_what_is_not_a_count_is_left_as_it_is(store: Store, sliding: bool) -> None:
    limit = RateLimit("2/h", name="other", sliding=sliding)
    store.set(limit.key("a").name, "secret")
    for call in (limit.hit, limit.peek):
        with pytest.raises(DecodeError) as caught:
            call("a")
        assert "secret" not in str(caught.value)
    assert store.get(limit.key("a").name) == "secret"


def test_a_limit_that_changes_its_kind_starts_again(store: Store) -> None:
    for sliding in (True, False, True):
        limit = RateLimit("1/h", name="changed", sliding=sliding)
        assert limit.reset("a") is False or sliding
        assert limit.hit("a")
        assert not limit.hit("a")


# Around a view.


def forbidden() -> Any:
    persist.incr("work")
    raise PermissionDenied


def forbidden_by_drf() -> Any:
    persist.incr("work")
    raise ApiPermissionDenied


class Login(View):
    def post(self, request: Any) -> Any:
        return forbidden()


class LoginApi(APIView):
    authentication_classes = ()

    def post(self, request: Any) -> Any:
        return forbidden_by_drf()


class LoginSet(ViewSet):
    authentication_classes = ()

    def create(self, request: Any) -> Any:
        return forbidden_by_drf()


def new(base: type) -> Any:
    """Return a class of its own, because a decorator changes the class."""
    return type("New", (base,), {})


KINDS: dict[str, Callable[[RateLimit], Any]] = {
    "function": lambda limit: limit(lambda request: forbidden()),
    "class": lambda limit: limit(new(Login)).as_view(),
    "dispatch": lambda limit: method_decorator(limit, name="dispatch")(new(Login)).as_view(),
    "APIView": lambda limit: limit(new(LoginApi)).as_view(),
    "APIView.dispatch": lambda limit: method_decorator(limit, name="dispatch")(
        new(LoginApi)
    ).as_view(),
    "ViewSet": lambda limit: limit(new(LoginSet)).as_view({"post": "create"}),
    "api_view": lambda limit: limit(api_view(["POST"])(lambda request: forbidden_by_drf())),
}


@each_way
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_refused_login_counts_under_atomic_requests(
    database: str,
    open_store: OpenStore,
    atomic_requests: Callable[[str], None],
    serve: Serve,
    kind: Any,
    sliding: bool,
) -> None:
    atomic_requests(open_store(database).driver.using)  # type: ignore[attr-defined]
    serve(kind(RateLimit("3/h", name="login", sliding=sliding)))
    client = Client()
    assert [client.post("/").status_code for _ in range(5)] == [403] * 3 + [429] * 2
    assert persist.get("work") is None  # rolled back


@pytest.mark.parametrize("action", ["hit", "peek", "reset"])
def test_a_call_in_a_transaction_that_could_be_rolled_back(
    database_store: Store, action: str
) -> None:
    limit = RateLimit("3/h", name="inside")
    using = database_store.driver.using  # type: ignore[attr-defined]
    limit.hit("a")
    with transaction.atomic(using):
        if action == "hit":
            with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
                limit.hit("a")
        else:
            assert getattr(limit, action)("a")
    assert limit.peek("a").remaining == (3 if action == "reset" else 2)


@pytest.mark.parametrize("server", ["postgresql", "mariadb", "mysql", "memory"])
def test_a_store_elsewhere_counts_within_a_transaction(server: str, open_store: OpenStore) -> None:
    open_store(server)
    if server == "memory":
        limit = RateLimit("1/h", name="aside")
        with transaction.atomic("default"):
            assert [limit.hit("a").passed for _ in range(2)] == [True, False]
        return
    with alias("aside", another(server)) as name:
        elsewhere = Store(type(persist.driver)(using=name))  # type: ignore[call-arg]
        limit = RateLimit("1/h", name="aside", store=elsewhere)
        with pytest.raises(ZeroDivisionError), transaction.atomic(server):
            assert limit.hit("a")
            raise ZeroDivisionError
        assert not limit.hit("a")


@pytest.mark.django_db
def test_it_counts_in_a_test_case() -> None:
    assert statuses(RateLimit("2/h", name="case")(answer), 3) == [200, 200, 429]
    assert not RateLimit("2/h", name="case").hit(make_request())


def test_only_some_methods_count(open_store: OpenStore, serve: Serve) -> None:
    open_store("memory")
    serve(
        RateLimit("2/h", name="post", methods=["POST"])(answer),
        get=RateLimit("2/h", name="get", methods=["get"])(answer),
    )
    client = Client()
    assert [client.get("/").status_code for _ in range(5)] == [200] * 5
    assert "RateLimit" not in client.get("/")
    assert [client.post("/").status_code for _ in range(3)] == [200, 200, 429]
    assert [client.head("/get").status_code for _ in range(3)] == [200, 200, 429]
    assert client.post("/get").status_code == 200


def test_several_limits(open_store: OpenStore) -> None:
    open_store("memory")
    short = RateLimit("2/m", name="short")
    long = RateLimit(name="long", limit=3, window=HOUR)
    view = long(short(answer))
    assert statuses(view, 3) == [200, 200, 429]
    assert short.reset(make_request())
    # The third was counted by the longer one.
    assert statuses(view, 1) == [429]
    assert persist.remove(long.key(make_request()))
    assert statuses(view, 1) == [200]
    response = view(make_request())
    assert response["RateLimit"] == '"short";r=0;t=60, "long";r=1;t=3600'
    assert response["RateLimit-Policy"] == '"short";q=2;w=60, "long";q=3;w=3600'


def test_the_fields_of_a_response(open_store: OpenStore, advance: Advance) -> None:
    open_store("memory")
    limit = RateLimit("2/10s", name='a "b" \\ ü', sliding=True)

    def stream(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse([b"a"])

    view: Any = limit(stream)
    policy = '"a \\"b\\" \\\\ ?";q=2;w=10'
    for remaining, status in ((1, 200), (0, 200), (0, 429)):
        response = view(make_request())
        assert response.status_code == status
        assert response["RateLimit-Policy"] == policy
        assert response["RateLimit"] == f'"a \\"b\\" \\\\ ?";r={remaining};t=5'
        assert ("Retry-After" in response) == (status == 429)
    assert response["Retry-After"] == "5"
    assert b"try again in 5 s" in response.content
    # A window of no whole seconds has no "w", which takes only those.
    odd = RateLimit(name="odd", limit=1, window=timedelta(seconds=1.5))
    assert odd.fields(odd.peek("a")) == {"RateLimit": '"odd";r=1', "RateLimit-Policy": '"odd";q=1'}
    odd.hit("a")
    assert odd.fields(odd.hit("a"))["RateLimit"] == '"odd";r=0;t=2'
    assert [RateLimit("1/s", name="s").hit("a").retry_after.seconds for _ in range(2)] == [0, 0]


def test_a_response_of_ones_own(open_store: OpenStore) -> None:
    open_store("memory")

    def refuse(request: HttpRequest, seconds: int) -> HttpResponse:
        return HttpResponse(f"{request.path} in {seconds}", status=503)

    view = RateLimit("1/h", name="own", refuse=refuse)(answer)
    assert statuses(view, 1) == [200]
    response = view(make_request(path="/login"))
    assert (response.status_code, response.content) == (429, b"/login in 3600")
    assert response["Retry-After"] == "3600"


def test_async_views_are_refused(open_store: OpenStore) -> None:
    limit = RateLimit("1/h", name="async")

    async def view(request: Any) -> HttpResponse:
        return HttpResponse()

    class AsyncView(View):
        async def get(self, request: Any) -> HttpResponse:
            return HttpResponse()

    for each in (view, AsyncView):
        with pytest.raises(TypeError, match="async"):
            limit(each)


def test_a_view_keeps_its_arguments_and_its_name(open_store: OpenStore) -> None:
    open_store("memory")

    @RateLimit("9/h", name="arguments")
    def view(request: HttpRequest, a: int, *, b: int) -> HttpResponse:
        """Say it."""
        return HttpResponse(f"{a}{b}")

    assert (view.__name__, view.__doc__) == ("view", "Say it.")
    assert view(make_request(), 1, b=2).content == b"12"


# Whom to count.


def test_each_caller_has_their_own_count(store: Store) -> None:
    view = RateLimit(name="each", limit=1, window=MINUTE)(answer)
    assert statuses(view, 2, REMOTE_ADDR="192.0.2.1") == [200, 429]
    assert statuses(view, 2, REMOTE_ADDR="192.0.2.2") == [200, 429]
    by_user = RateLimit("1/m", name="users", by=user)(answer)
    assert statuses(by_user, 2, user=1) == [200, 429]
    assert statuses(by_user, 2, user=2, REMOTE_ADDR="192.0.2.1") == [200, 429]
    assert statuses(by_user, 2, REMOTE_ADDR="192.0.2.1") == [200, 429]
    by_method = RateLimit("1/m", name="methods", by=lambda request: request.method)(answer)
    assert statuses(by_method, 2) == [200, 429]
    assert statuses(by_method, 2, method="GET") == [200, 429]


def test_a_caller_of_none_is_not_limited(store: Store) -> None:
    limit = RateLimit("1/m", name="some", by=lambda request: None)
    assert statuses(limit(answer), 3) == [200] * 3
    assert store.count() == 0
    assert limit.hit(make_request()) == limit.peek(make_request()) == Usage(True, 1, NONE)
    assert limit.reset(make_request()) is False
    with pytest.raises(ValueError, match="'some'"):
        limit.key(make_request())


def test_callers_of_any_kind(store: Store) -> None:
    limit = RateLimit("1/m", name="kinds")
    texts = ["", "a", "a:b", "a%3Ab", "ü", "x" * 71, "x" * 72, "x" * 5000, "a\0", "\ud800", "A"]
    callers: list[str | int | UUID] = [*texts, 5, uuid4()]
    assert [limit.hit(caller).passed for caller in callers] == [True] * len(callers)
    assert [limit.hit(caller).passed for caller in callers] == [False] * len(callers)
    assert limit.hit("5").passed is False  # as parts of a key are
    assert max(map(len, store.keys())) < 255


def test_a_header_is_stored_as_its_hash(store: Store) -> None:
    limit = RateLimit("1/m", name="api", by=header("X-Api-Key"))
    view = limit(answer)
    assert statuses(view, 2, headers={"X-Api-Key": "secret"}) == [200, 429]
    assert statuses(view, 2, headers={"X-Api-Key": "Secret"}) == [200, 429]
    assert statuses(view, 2) == [200, 429]
    digest = hashlib.sha256(b"secret").hexdigest()
    assert sorted(store.keys()) == sorted(
        [
            "rate:api:127.0.0.1",
            f"rate:api:sha256-{digest}",
            f"rate:api:sha256-{hashlib.sha256(b'Secret').hexdigest()}",
        ]
    )


@pytest.mark.parametrize(
    ("remote", "forwarded", "own_proxies", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "forged, 203.0.113.9, 10.0.0.2", 2, "203.0.113.9"),
        # It has not passed the proxies: whoever sent it may have written the header.
        ("192.0.2.1", "203.0.113.9", 2, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7, 203.0.113.9", 3, "192.0.2.1"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("10.0.0.1", "x" * 5000, 1, "10.0.0.1"),
        ("10.0.0.1", "unknown", 1, "10.0.0.1"),
        ("2001:db8:0:7:1::5", "", 0, "2001:db8:0:7::/64"),
        ("2001:db8:0:7:9::6", "", 0, "2001:db8:0:7::/64"),
        ("fe80::1%eth0", "", 0, "fe80::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9:5678", 1, "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:0:7:1::5]:443", 1, "2001:db8:0:7::/64"),
        ("10.0.0.1", "[2001:db8:0:7:1::5]", 1, "2001:db8:0:7::/64"),
        ("10.0.0.1", " 2001:db8:0:7:1::5 ", 1, "2001:db8:0:7::/64"),
        ("[::ffff:192.0.2.1]:80", "", 0, "192.0.2.1"),
        ("", "", 0, ""),
        ("", "203.0.113.9", 0, ""),
    ],
)
def test_a_client_can_not_choose_its_address(
    remote: str, forwarded: str, own_proxies: int, expected: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else None
    request = make_request(headers=headers, REMOTE_ADDR=remote)
    assert address(request, own_proxies) == expected
    assert user(request, own_proxies) == expected
    assert header("X-Api-Key", own_proxies)(request) == expected
    limit = RateLimit("1/m", name="n", by=partial(address, own_proxies=own_proxies))
    assert limit.key(request) == limit.key(expected)


# The store.


def test_a_store_of_its_own(open_store: OpenStore) -> None:
    open_store("memory")
    own = persist.namespace("limits")
    limit = RateLimit("1/h", name="own", store=own)
    assert statuses(limit(answer), 2) == [200, 429]
    assert list(persist.keys()) == ["limits:rate:own:127.0.0.1"]
    # Without one, the request's store counts: in a project with tenants, each has a count.
    by_request = RateLimit("1/h", name="tenants")
    for tenant in ("a", "b"):
        request = make_request()
        request.persist = persist.namespace(tenant)
        assert [by_request.hit(request).passed for _ in range(2)] == [True, False]


def test_without_a_store_it_is_closed(unreachable_store: None) -> None:
    for call in (FIXED.hit, FIXED.peek, FIXED.reset, SLIDING.hit, FIXED(answer)):
        with pytest.raises(StoreUnavailableError):
            call(make_request())


@each_way
def test_without_a_store_it_is_open_if_configured(
    unreachable_store: None, caplog: pytest.LogCaptureFixture, sliding: bool
) -> None:
    limit = RateLimit("1/m", name="open", fail_open=True, sliding=sliding)
    assert statuses(limit(answer), 3) == [200] * 3
    assert limit.hit("a") == Usage(True, 1, NONE)
    assert "The rate limit 'open' lets all requests pass." in caplog.text


@pytest.mark.parametrize("server", [name for name in BACKENDS if name not in ("sqlite", "memory")])
def test_a_wrong_password_never_fails_open(server: str, open_store: OpenStore) -> None:
    limit = RateLimit("1/m", name="open", fail_open=True)
    store = open_store(server)
    if server in ("valkey", "redis"):
        cache = store.driver.cache  # type: ignore[attr-defined]
        settings: Any = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": cache._server,
            "OPTIONS": {"USERNAME": "nobody", "PASSWORD": "hush"},
        }
        from django.test import override_settings

        with (
            override_settings(
                CACHES={"wrong": settings},
                PERSIST={"default": {**BACKENDS[server], "OPTIONS": {"cache": "wrong"}}},
            ),
            pytest.raises(StoreUnavailableError),
        ):
            limit.hit("a")
        return
    with alias("wrong", another(server, USER="nobody", PASSWORD="hush")) as name:
        limit = RateLimit(
            "1/m",
            name="open",
            fail_open=True,
            store=Store(type(store.driver)(using=name)),  # type: ignore[call-arg]
        )
        with pytest.raises(StoreUnavailableError):
            limit.hit("a")


# What it takes.


@pytest.mark.parametrize(
    ("rate", "limit", "window"),
    [
        ("5/15m", 5, timedelta(minutes=15)),
        ("1/s", 1, timedelta(seconds=1)),
        ("100/day", 100, timedelta(days=1)),
        ("10/2hours", 10, timedelta(hours=2)),
        ("60/min", 60, MINUTE),
    ],
)
def test_rates(rate: str, limit: int, window: timedelta) -> None:
    assert parse_rate(rate) == (limit, window)
    made = RateLimit(rate, name="a")
    assert (made.limit, made.window) == (limit, window)


@pytest.mark.parametrize(
    "rate", ["", "5", "5/", "/m", "5/15", "0/m", "5/0m", "-5/m", "5/month", "5/m ", "٥/m", "5/w"]
)
def test_other_rates_are_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="rate|limit|window"):
        RateLimit(rate, name="a")


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {}),
        (TypeError, {"limit": 5}),
        (TypeError, {"window": MINUTE}),
        (TypeError, {"rate": "5/m", "limit": 5, "window": MINUTE}),
        (TypeError, {"rate": "5/m", "methods": "POST"}),
        (ValueError, {"limit": 0, "window": MINUTE}),
        (ValueError, {"limit": 10**15, "window": MINUTE}),
        (ValueError, {"limit": 5, "window": NONE}),
        (ValueError, {"limit": 5, "window": -MINUTE}),
        (ValueError, {"limit": 5, "window": timedelta(days=400_000)}),
        (ValueError, {"limit": 10**6 + 1, "window": timedelta(seconds=1), "sliding": True}),
        (InvalidKeyError, {"rate": "5/m", "name": "x" * 200}),
        (InvalidKeyError, {"rate": "5/m", "name": "\0"}),
    ],
)
def test_other_arguments_are_refused(error: type[Exception], arguments: dict[str, Any]) -> None:
    with pytest.raises(error):
        RateLimit(**{"name": "a", **arguments})
