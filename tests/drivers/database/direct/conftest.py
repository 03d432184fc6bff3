"""What takes the direct way, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.drivers.database.direct.base import Direct


class Count:
    """How many statements have gone below Django's cursor."""

    def __init__(self) -> None:
        self.direct = 0

    def of(self, call: Callable[[], object]) -> int:
        """Make a call; return how many of its statements went below the cursor."""
        before = self.direct
        call()
        return self.direct - before


def remove_guards() -> None:
    """Give the connections back the methods that Django's tests without databases replace."""
    for wrapper in connections.all(initialized_only=True):
        for name in ("connect", "cursor", "chunked_cursor", "temporary_connection"):
            vars(wrapper).pop(name, None)


@contextmanager
def counting() -> Iterator[Count]:
    """Count the statements that go below Django's cursor during the block, in all threads."""
    for vendor in ("sqlite", "postgresql", "mysql"):
        with suppress(ImportError):  # without its client library
            import_module(f"django_persist.drivers.database.direct.{vendor}")
    remove_guards()  # An earlier SimpleTestCase has left its methods there.
    counted = Count()
    with pytest.MonkeyPatch.context() as patches:
        for cls in Direct.__subclasses__():
            patches.setattr(cls, "execute", _counted(cls.execute, counted))
        yield counted


def _counted(execute: Any, count: Count) -> Any:
    def counted(self: Any, *args: Any) -> Any:
        count.direct += 1
        return execute(self, *args)

    return counted


@pytest.fixture
def count() -> Iterator[Count]:
    """Counts the statements that go below Django's cursor."""
    with counting() as counted:
        yield counted


@pytest.fixture
def direct_store(database_store: Store, count: Count) -> Iterator[Store]:
    """A store on each database in turn, whose calls go below Django's cursor so far."""
    store = database_store
    using = store.driver.using  # type: ignore[attr-defined]
    connections[using].close()
    store.set("key", "value")  # Connects: the direct way is looked for on an open connection.
    assert count.of(lambda: store.get("key")) == 1
    yield store
    connections[using].close()
