"""What the package costs a site: in each request, and once for its import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory, override_settings

from .report import Spread, table

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
print(took * 1000, len(set(sys.modules) - before))
"""
MODULES = ("msgspec", "django_persist", "django_persist.middleware")


def site() -> None:
    """Print the time that the middleware adds to a request, and that the import takes."""
    rows = []
    for kind, serving in (("sync", _sync), ("async", _async)):
        with serving([]) as bare, serving([MIDDLEWARE]) as with_ours:
            rows.append([kind, *map(str, _compare(bare, with_ours))])
    print(f"\n{table(['a request, µs', 'without', 'the middleware adds'], rows)}")
    rows = [[f"`{module}`", *map(str, _import(module))] for module in MODULES]
    print(f"\n{table(['import of', 'ms', 'modules'], rows)}")


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


def _import(module: str) -> tuple[Spread, int]:
    """Return the milliseconds of an import once Django is loaded, and the modules that it adds."""
    took = []
    for _ in range(IMPORTS):
        code = IMPORT.format(module=module)
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        milliseconds, loaded = done.stdout.decode().split()
        took.append(float(milliseconds))
    return Spread.of(took), int(loaded)
