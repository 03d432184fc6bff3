"""Requests without a client, and the processes and threads that send them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from threading import Barrier
from typing import Any, cast

from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory

from django_persist import persist
from django_persist.http import HttpRequest
from tests.processes import Place, context, enter, place

EIGHT = 8


def make_request(
    method: str = "POST",
    path: str = "/",
    data: Any = None,
    *,
    user: int | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> HttpRequest:
    """Return a request with `persist`, from the user with that id or from an anonymous one."""
    make = getattr(RequestFactory(), method.lower())
    request = cast("HttpRequest", make(path, data, headers=headers, **more))
    request.persist = persist
    request.user = User(pk=user) if user else AnonymousUser()
    return request


def in_threads(function: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `function(i, *args)` in eight threads that start at once and switch often."""
    barrier = Barrier(EIGHT)

    def run(i: int) -> Any:
        barrier.wait(60)
        return function(i, *args)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(EIGHT) as pool:
            return list(pool.map(run, range(EIGHT)))
    finally:
        sys.setswitchinterval(interval)


def _run(where: Place, line: Connection, function: Callable[..., Any], args: Any) -> None:
    enter(where)
    function(line, *args)


@contextmanager
def child(function: Callable[..., Any], *args: Any) -> Iterator[tuple[Any, Connection]]:
    """Run `function(line, *args)` in another process; yield the process and our end of the line."""
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(place(), theirs, function, args), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join(30)
        ours.close()


def kill(process: Any) -> None:
    """Kill a process, and check that it did not end in another way."""
    process.kill()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
