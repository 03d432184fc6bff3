"""How far the tests go: a bounded part each time, a hundred times as far where one asks for it."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("PERSIST_TEST_LONG"))


def examples(number: int) -> int:
    """Return how many examples Hypothesis is to try, where `number` is what each run can afford."""
    return 100 * number if LONG else number
