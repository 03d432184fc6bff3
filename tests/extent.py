"""How far the tests go, and how long they take."""

from __future__ import annotations

import os
from typing import Final

LONG = bool(os.environ.get("PERSIST_TEST_LONG"))

COSTLY: Final = "runs in CI, with PERSIST_TEST_LONG, or if the command line names or selects tests"
COSTLY_LEFT_OUT: Final = "Not run: tests marked costly. CI and `pytest -m costly` run them."

# Of all tests but the costly ones, without MariaDB, MySQL and Redis, each of which adds about a
# tenth.
COMPUTING: Final = 250
"""Seconds of a processor, with those that the servers take."""

WAITING_TOO: Final = 430
"""Seconds one after the other, with what they wait for."""

WITH_COSTLY: Final = 2
"""How many times as long a run takes that has the costly ones, too."""


def runs_costly() -> bool:
    """Return whether to run the tests that are marked costly."""
    return any(os.environ.get(name) for name in ("CI", "PERSIST_TEST_LONG", "PERSIST_TEST_COSTLY"))


def run_costly() -> None:
    """Let this run, with its workers, run the tests that are marked costly."""
    os.environ["PERSIST_TEST_COSTLY"] = "1"


def examples(number: int) -> int:
    """Return how many examples Hypothesis tries: `number`, or a hundred times as many."""
    return 100 * number if LONG else number


def cores() -> int:
    """Return how many processors the tests may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers() -> int:
    """Return how many workers to start: more than cores, as tests wait half of the time."""
    named = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    return int(named) if named else 2 * cores()


def duration(workers: int, more_servers: int) -> str:
    """Say how long all tests take."""
    if LONG:
        return "All tests, with PERSIST_TEST_LONG, take an hour or more."
    seconds = max(COMPUTING / cores(), WAITING_TOO / workers) * (1 + more_servers / 10) + 15
    if runs_costly():
        seconds *= WITH_COSTLY
    halves = max(1, round(seconds / 30))
    minutes = "1 minute" if halves <= 2 else f"{halves / 2:g} minutes"
    plural = "" if cores() == 1 else "s"
    return f"All tests take about {minutes} on the {cores()} core{plural} of this machine."
