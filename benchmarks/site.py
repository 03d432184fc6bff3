"""What a site pays that has the package: for each request, and once for its import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory, override_settings

from .report import Spread

MIDDLEWARE = "django_persist.middleware.PersistMiddleware"
REQUESTS = 20
ROUNDS = 500
IMPORTS = 15

IMPORT = """
import sys, time
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"])
django.setup()
import django.core.cache, django.core.checks, django.http
before = set(sys.modules)
began = time.perf_counter()
import {module}
took = time.perf_counter() - began
print(took * 1000, *sorted(set(sys.modules) - before))
"""
LATER = ("redis", "pydantic", "django_persist.models", "django_persist.cache")
"""What is to be loaded once it is needed."""


def site() -> None:
    """Print what the middleware adds to a request, and how long the import takes."""
    for kind, serving in (("sync", _sync), ("async", _async)):
        with serving([]) as bare, serving([MIDDLEWARE]) as with_ours:
            without, added = _compare(bare, with_ours)
        print(f"A request, {kind}: {without} µs; the middleware adds {added}.")
    for module in ("msgspec", "django_persist", "django_persist.middleware"):
        took, loaded = _import(module)
        early = [name for name in LATER if name in loaded]
        print(f"import {module}: {took:.1f} ms, {len(loaded)} modules; of those for later {early}.")


def _compare(bare: Callable[[], None], ours: Callable[[], None]) -> tuple[Spread, Spread]:
    without, added = [], []
    for number in range(ROUNDS):
        order = (bare, ours) if number % 2 else (ours, bare)
        took = {each: _microseconds(each) for each in order}
        without.append(took[bare])
        added.append(took[ours] - took[bare])
    return Spread.of(without), Spread.of(added)


def _microseconds(requests: Callable[[], None]) -> float:
    began = time.perf_counter()
    requests()
    return (time.perf_counter() - began) / REQUESTS * 1e6


@contextmanager
def _sync(middleware: list[str]) -> Iterator[Callable[[], None]]:
    with override_settings(MIDDLEWARE=middleware):
        handler = WSGIHandler()
    factory = RequestFactory()

    def requests() -> None:
        for _ in range(REQUESTS):
            handler.get_response(factory.get("/"))

    yield requests


@contextmanager
def _async(middleware: list[str]) -> Iterator[Callable[[], None]]:
    with override_settings(MIDDLEWARE=middleware):
        handler = ASGIHandler()
    factory = RequestFactory()

    async def serve() -> None:
        for _ in range(REQUESTS):
            await handler.get_response_async(factory.get("/async"))

    with asyncio.Runner() as runner:
        yield lambda: runner.run(serve())


def _import(module: str) -> tuple[float, list[str]]:
    """Return the milliseconds that an import takes beside Django's own, and what it brings."""
    took = []
    for _ in range(IMPORTS):
        code = IMPORT.format(module=module)
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        first, *loaded = done.stdout.decode().split()
        took.append(float(first))
    return median(took), loaded
