"""Time that passes for a recipe without waiting, on whatever store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
import time_machine

from django_persist import persist
from tests import clock

Passes: TypeAlias = Callable[[float], None]


@pytest.fixture
def passes() -> Iterator[Passes]:
    """Return a function that lets seconds pass for the default store."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda seconds: clock.elapse(persist, seconds, traveller)
