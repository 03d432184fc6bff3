"""Which way a statement takes: below Django's cursor, or through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_persist import Store
from django_persist.drivers.database.direct import base
from tests.conftest import DATABASES, OpenStore


class Ways:
    """Counts the statements that go below Django's cursor."""

    def __init__(self) -> None:
        self.direct = 0

    def is_direct(self, call: Callable[[], object]) -> bool:
        """Make a call of one statement; return whether that went below the cursor."""
        before = self.direct
        call()
        assert self.direct - before in (0, 1)
        return self.direct > before


@contextmanager
def counting() -> Iterator[Ways]:
    """Count the statements that go below the cursor during the block."""
    # The modules of the vendors are imported when they are first used.
    ways = Ways()
    with pytest.MonkeyPatch.context() as patches:
        for cls in base.Direct.__subclasses__():
            patches.setattr(cls, "execute", _counted(cls.execute, ways))
        yield ways


def _counted(execute: Any, ways: Ways) -> Any:
    def counted(self: Any, *args: Any) -> Any:
        ways.direct += 1
        return execute(self, *args)

    return counted


@pytest.fixture(params=DATABASES)
def direct_store(request: pytest.FixtureRequest, open_store: OpenStore) -> Store:
    """The default store on each database in turn, whose calls go below the cursor."""
    store = open_store(request.param)
    store.set("there", 1)
    store.get("there")
    return store


@pytest.fixture
def ways(direct_store: Store) -> Iterator[Ways]:
    with counting() as ways:
        assert ways.is_direct(lambda: direct_store.get("there"))
        yield ways
