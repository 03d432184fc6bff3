"""What a session costs: SQL statements of a database, or commands that a Redis server reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.sessions import SessionStore


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """Yield a list that gets the first word of each statement or command, in order."""
    words: list[str] = []
    if isinstance(store.driver, DatabaseDriver):
        with CaptureQueriesContext(connections[store.driver.using]) as captured:
            yield words
        words += [query["sql"].split()[0] for query in captured]
        return
    driver: Any = store.driver
    client = driver.cache.client.get_client(write=True)
    with client.monitor() as monitor:
        yield words
        client.echo("the end")
        for command in monitor.listen():
            text = command["command"]
            if text == "ECHO the end":
                return
            # Without the commands inside a script, and without those of other test workers.
            if driver.prefix in text and command["client_type"] != "lua":
                words.append(text.split()[0])


def new() -> SessionStore:
    session = SessionStore()
    session["a"] = 1
    return session


def load(session: SessionStore) -> None:
    session["a"]


def save_unchanged(session: SessionStore) -> None:
    session["a"]
    session.save()


def save(session: SessionStore) -> None:
    session["a"] = 2
    session.save()


def create(session: SessionStore) -> None:
    new().save()


COSTS: dict[str, tuple[Callable[[SessionStore], Any], list[str], list[str]]] = {
    "load": (load, ["SELECT"], ["GET"]),
    "save, unchanged": (save_unchanged, ["SELECT", "UPDATE"], ["GET", "PEXPIRE"]),
    "save": (save, ["SELECT", "SELECT", "UPDATE"], ["GET", "GET", "EVALSHA"]),
    "create": (create, ["INSERT"], ["SET"]),
    "exists": (lambda session: session.exists("x" * 32), ["SELECT"], ["EXISTS"]),
    "flush": (lambda session: session.flush(), ["DELETE"], ["UNLINK"]),
    "cycle_key": (
        lambda session: session.cycle_key(),
        ["SELECT", "INSERT", "DELETE"],
        ["GET", "SET", "UNLINK"],
    ),
}


@pytest.mark.parametrize(("call", "statements", "commands"), COSTS.values(), ids=COSTS)
def test_costs_of_a_call(
    shared_store: Store,
    call: Callable[[SessionStore], Any],
    statements: list[str],
    commands: list[str],
) -> None:
    session = new()
    session.save()
    save(SessionStore(session.session_key))  # Now the server has cached the scripts.
    with counted(shared_store) as words:
        call(SessionStore(session.session_key))
    is_database = isinstance(shared_store.driver, DatabaseDriver)
    assert words == (statements if is_database else commands)


@pytest.mark.parametrize(
    ("path", "reads", "writes"),
    [
        pytest.param("/untouched", 0, 0, id="view that doesn't use the session"),
        pytest.param("/show", 1, 0, id="view that reads it"),
        pytest.param("/put?a=2", 2, 1, id="view that changes it"),
    ],
)
def test_costs_of_a_request(
    site: None, shared_store: Store, client: Client, path: str, reads: int, writes: int
) -> None:
    client.get("/put?a=1")
    client.get("/put?a=1")
    with counted(shared_store) as words:
        assert client.get(path).status_code == 200
    read = [word for word in words if word in {"SELECT", "GET"}]
    assert (len(read), len(words) - len(read)) == (reads, writes)
