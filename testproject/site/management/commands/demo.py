"""Show what a store does, on SQLite, in memory, and on Redis if REDIS_URL is set.

This runs the examples of demo.txt as in Python's prompt, shows the answers, and compares them with
the expected ones. It uses a temporary database, and leaves nothing behind.
"""

from __future__ import annotations

import doctest
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import Style
from django.db import connections

from django_persist import KEEP, REMOVE, Item, Key, Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import PersistError

WALK = Path(__file__).parents[2] / "demo.txt"
ALIAS = "demo"


class Command(BaseCommand):
    help = __doc__ or ""
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for name, make in STORES.items():
            if name == "Redis" and not os.environ.get("REDIS_URL"):
                self.stdout.write("\nSkipping Redis: REDIS_URL is not set.")
                continue
            self.stdout.write(self.style.MIGRATE_HEADING(f"\n===== On {name} ====="))
            walk = Walk(self.stdout.write, self.style)
            try:
                with make() as store:
                    walk.through(store)
            except (ImportError, PersistError) as error:
                raise CommandError(f"On {name}: {error}") from error
            wrong += walk.wrong
            self.stdout.write(f"\nOn {name}: {walk.steps} steps, {walk.wrong} wrong.")
        if wrong:
            raise CommandError(f"Wrong answers: {wrong}.")
        self.stdout.write(self.style.SUCCESS("\nAll answers were right."))


class Walk:
    """Runs the examples of demo.txt and shows each one."""

    def __init__(self, write: Callable[[str], object], style: Style) -> None:
        self._write = write
        self._style = style
        self._checker = doctest.OutputChecker()
        self.steps = self.wrong = 0

    def through(self, store: Store) -> None:
        names = _names(store)
        for piece in doctest.DocTestParser().parse(WALK.read_text()):
            if isinstance(piece, str):
                if piece.strip():
                    self._write(self._style.MIGRATE_LABEL(f"\n{piece.strip()}\n"))
            else:
                self._step(piece, names)

    def _step(self, example: doctest.Example, names: dict[str, Any]) -> None:
        first, *others = example.source.rstrip("\n").split("\n")
        self._write("\n".join([f"  >>> {first}", *(f"  ... {line}" for line in others)]))
        want = example.exc_msg or example.want
        answers = _answers(example.source, names)
        if answers[0]:
            self._write(f"  {answers[0].rstrip()}")
        self.steps += 1
        if not any(self._checker.check_output(want, got, doctest.ELLIPSIS) for got in answers):
            self.wrong += 1
            self._write(self._style.ERROR(f"  WRONG: expected {want.rstrip() or 'nothing'}"))


def _answers(source: str, names: dict[str, Any]) -> list[str]:
    """Return what Python's prompt shows. An error is also shown under its base classes' names."""
    shown = StringIO()
    try:
        with redirect_stdout(shown):
            exec(compile(source, WALK.name, "single", dont_inherit=True), names)  # noqa: S102
    except Exception as error:  # noqa: BLE001 (any error is shown and compared)
        return [f"{cls.__name__}: {error}\n" for cls in type(error).__mro__]
    return [shown.getvalue()]


@contextmanager
def sqlite() -> Iterator[Store]:
    with TemporaryDirectory(prefix="persist-demo-") as folder:
        config = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/demo.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
        connections.settings[ALIAS] = connections.configure_settings({"default": config})["default"]
        try:
            call_command("migrate", "django_persist", database=ALIAS, verbosity=0)
            yield Store(DatabaseDriver(ALIAS))
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.settings[ALIAS]


@contextmanager
def memory() -> Iterator[Store]:
    yield from _cleared(Store(MemoryDriver(ALIAS)))


@contextmanager
def redis() -> Iterator[Store]:
    # Imported late: a project without Redis doesn't have django-redis.
    from django_persist.drivers.redis import RedisDriver

    yield from _cleared(Store(RedisDriver("persist"), prefix=f"demo:{secrets.token_hex(8)}:"))


STORES = {"SQLite": sqlite, "memory": memory, "Redis": redis}


def _cleared(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.clear()


def _closing(call: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap a call for other threads: close the connection that it opens in its thread."""

    def closing(key: str) -> Any:
        try:
            return call(key)
        finally:
            connections.close_all()

    return closing


def _names(store: Store) -> dict[str, Any]:
    """Return the names that demo.txt uses."""
    return {
        "__name__": __name__,
        "KEEP": KEEP,
        "REMOVE": REMOVE,
        "Item": Item,
        "Key": Key,
        "ThreadPoolExecutor": ThreadPoolExecutor,
        "closing": _closing,
        "dataclass": dataclass,
        "on_a_database": isinstance(store.driver, DatabaseDriver),
        "sleep": sleep,
        "store": store,
        "timedelta": timedelta,
    }
