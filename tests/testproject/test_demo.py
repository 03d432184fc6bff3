"""`manage.py demo`: it fails if an answer is wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from django_persist.drivers.memory import MemoryDriver
from testproject.site.management.commands import demo
from tests import servers

ROOT = Path(__file__).resolve().parents[2]

Demo = Callable[[], tuple[str, str]]
"""Runs the demo, which must fail; returns its output and its error."""


def run(tmp_path: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("DJANGO_")}
    environ.pop("REDIS_URL", None)
    environ |= {"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_demo_runs_twice_in_a_row_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for redis in ({}, {"REDIS_URL": servers.valkey()}):
        done = run(tmp_path, "manage.py", "demo", **redis)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "On SQLite" in done.stdout
        assert "On memory" in done.stdout
        if redis:
            assert "0 wrong" in done.stdout.partition("On Redis: ")[2]
        else:
            assert "Skipping Redis: REDIS_URL is not set." in done.stdout
        assert (
            "  >>> store.get(CART(user_id=4))\n  Cart(owner='Ada', lines=['tea'])\n" in done.stdout
        )
        assert "  DuplicateKeyError: The key 'greeting' already has a live entry" in done.stdout
        assert done.stdout.endswith("All answers were right.\n")
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def demo_here(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[Demo]:
    """The demo in this process, with a clock that moves instead of sleeping."""

    def call() -> tuple[str, str]:
        shown = StringIO()
        with pytest.raises(CommandError) as caught:
            call_command("demo", stdout=shown)
        return shown.getvalue(), str(caught.value)

    with time_machine.travel(time.time()) as clock, django_db_blocker.unblock():
        monkeypatch.setattr(demo, "sleep", clock.shift)
        yield call


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        ("create", lambda self, *args: self.set(*args) or True),
        ("remove_if", lambda self, key, seen: True),
        ("expired", lambda self: 1),
    ],
    ids=["create", "remove_if", "expired"],
)
def test_demo_fails_if_an_answer_is_wrong(
    demo_here: Demo, monkeypatch: pytest.MonkeyPatch, method: str, broken: Any
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(MemoryDriver, method, broken)
    shown, error = demo_here()
    assert "  WRONG: expected " in shown
    assert "On SQLite: 64 steps, 0 wrong." in shown
    assert "right" not in shown.rpartition("On memory")[2]
    assert "Wrong answers" in error


def test_demo_fails_if_redis_does_not_answer(
    demo_here: Demo, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    monkeypatch.setenv("REDIS_URL", url)
    settings.CACHES = {**settings.CACHES, "persist": {**settings.CACHES["valkey"], "LOCATION": url}}
    shown, error = demo_here()
    assert "On memory: 64 steps, 0 wrong." in shown
    assert "can't be reached" in error
