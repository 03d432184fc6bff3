"""What a session adds to a request: our engine beside Django's, on the same servers.

The requests go through Django's handler and SessionMiddleware. In each round every engine handles
one batch of requests.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from django.core.cache import caches
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections, models
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from .report import Spread
from .servers import DATABASES, REDIS

BATCH = 15
ROUNDS = 80
DATA = {"_auth_user_id": "4711", "_auth_user_hash": "f" * 64, "cart": {"TX-2203": 2}, "n": 0}
DJANGO = "django.contrib.sessions.backends"


class SessionRouter:
    """Routes Django's engines to the database that is measured."""

    using: ClassVar[str | None] = None

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return self.using if model._meta.label == "sessions.Session" else None

    db_for_write = db_for_read


class Engine(NamedTuple):
    name: str
    engine: str
    cache: str = "default"


def engines(store: str, stores: list[str]) -> list[Engine]:
    """Return ours, then those of Django that keep sessions in the same place."""
    ours = Engine("ours", "django_persist.sessions")
    if store in DATABASES:
        both = [Engine("cached_db, Valkey", f"{DJANGO}.cached_db", "valkey")]
        return [ours, Engine("db", f"{DJANGO}.db"), *both * ("valkey" in stores)]
    if store in REDIS:
        return [
            ours,
            Engine("cache, django-redis", f"{DJANGO}.cache", store),
            Engine("cache, RedisCache", f"{DJANGO}.cache", f"{store} by Django"),
        ]
    return [ours, Engine("cache, LocMemCache", f"{DJANGO}.cache", store)]


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session["_auth_user_id"])


def change(request: HttpRequest) -> HttpResponse:
    request.session["n"] += 1
    return HttpResponse()


def create(request: HttpRequest) -> HttpResponse:
    request.session.update(DATA)
    return HttpResponse()


urlpatterns = [path("read", read), path("change", change), path("create", create)]
KINDS = {"read": "/read", "changed": "/change", "created": "/create", "every request": "/read"}
"""The kinds of request; the last one with SESSION_SAVE_EVERY_REQUEST."""


@contextmanager
def _site(store: str, engine: Engine, every: bool) -> Iterator[Callable[[str], HttpResponseBase]]:
    SessionRouter.using = store if store in DATABASES else None
    with override_settings(
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE=engine.engine,
        SESSION_CACHE_ALIAS=engine.cache,
        SESSION_SAVE_EVERY_REQUEST=every,
        PERSIST_SESSION_STORE=store,
    ):
        handler, factory = WSGIHandler(), RequestFactory()
        factory.cookies["sessionid"] = ""

        def visit(page: str) -> HttpResponseBase:
            request = factory.get(page)
            if page == "/create":
                del request.META["HTTP_COOKIE"]
            response = handler.get_response(request)
            assert response.status_code == 200, response.status_code
            return response

        factory.cookies["sessionid"] = visit("/create").cookies["sessionid"].value
        yield visit


def compare_sessions(stores: list[str]) -> None:
    """Print a table for each store: what a request sends to the servers, and its time."""
    for store in stores:
        lineup = engines(store, stores)
        names = [f"{each.name} / ours" for each in lineup[1:]]
        print(f"\n| {store} | sent to the servers | ours, µs | {' | '.join(names)} |")
        print(f"| --- | --- | ---: |{' ---: |' * len(names)}")
        for kind, page in KINDS.items():
            every = kind == "every request"
            sent = [_sent(store, each, page, every) for each in lineup]
            took = _took(store, lineup, page, every)
            ratios = [
                Spread.of([one / other for one, other in zip(theirs, took[0], strict=True)])
                for theirs in took[1:]
            ]
            cells = [kind, ", ".join(map(str, sent)), Spread.of(took[0]), *ratios]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _took(store: str, lineup: list[Engine], page: str, every: bool) -> list[list[float]]:
    """Return the microseconds of a request in each round, for each engine."""
    took: list[list[float]] = [[] for _ in lineup]
    for number in range(ROUNDS + 1):
        order = range(len(lineup)) if number % 2 else reversed(range(len(lineup)))
        for i in order:
            with _site(store, lineup[i], every) as visit:
                visit(page)
                gc.collect(0)
                gc.disable()
                began = time.perf_counter()
                for _ in range(BATCH):
                    visit(page)
                seconds = time.perf_counter() - began
                gc.enable()
            if number:  # The first round only warms up.
                took[i].append(seconds / BATCH * 1e6)
    return took


def _sent(store: str, engine: Engine, page: str, every: bool) -> str:
    """Return how many SQL statements and Redis commands a request sends."""
    with _site(store, engine, every) as visit:
        visit(page)
        statements = commands = 0
        if store in DATABASES:
            with CaptureQueriesContext(connections[store]) as captured:
                visit(page)
            statements = len(captured)
        at = store if store in REDIS else engine.cache
        if at.split()[0] in REDIS:
            commands = _commands(at.split()[0], lambda: visit(page))
    parts = [f"{statements} SQL"] * bool(statements) + [f"{commands} Redis"] * bool(commands)
    return " + ".join(parts) or "none"


def _commands(redis: str, call: Callable[[], Any]) -> int:
    """Return how many Redis commands for our keys a call sends."""
    cache: Any = caches[redis]
    client, prefix, sent = cache.client.get_client(write=True), cache.key_prefix, 0
    with client.monitor() as monitor:
        call()
        client.echo("the end")
        for command in monitor.listen():
            if command["command"] == "ECHO the end":
                return sent
            sent += prefix in command["command"] and command["client_type"] != "lua"
    raise AssertionError
