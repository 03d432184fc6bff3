"""`manage.py demo`: right answers end with 0, a wrong one doesn't, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

ROOT = Path(__file__).resolve().parents[2]
DEMO = ("manage.py", "demo")

BROKEN = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
from django.core.management import execute_from_command_line
from django_persist.drivers.memory import MemoryDriver
{sabotage}
execute_from_command_line(["manage.py", "demo"])
"""


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


def test_demo_tells_all_twice_in_a_row_and_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(tmp_path, *DEMO)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "On SQLite" in done.stdout
        assert "On memory" in done.stdout
        assert "REDIS_URL is not set" in done.stdout
        assert (
            "  >>> store.get(CART(user_id=4))\n  Cart(owner='Ada', lines=['tea'])\n" in done.stdout
        )
        assert "  DuplicateKeyError: The key 'greeting' already has a live entry" in done.stdout
        assert done.stdout.endswith("Every answer was right.\n")
        assert list(tmp_path.iterdir()) == []


def test_demo_runs_on_redis_too(tmp_path: Path) -> None:
    done = run(tmp_path, *DEMO, REDIS_URL=servers.valkey())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "On Redis: " in done.stdout
    assert "0 wrong" in done.stdout.partition("On Redis: ")[2]


@pytest.mark.parametrize(
    "sabotage",
    [
        "MemoryDriver.create = lambda self, *args: self.set(*args) or True",
        "MemoryDriver.remove_if = lambda self, key, seen: True",
        "MemoryDriver.expired = lambda self: 1",
    ],
)
def test_demo_ends_with_1_where_an_answer_is_wrong(tmp_path: Path, sabotage: str) -> None:
    done = run(tmp_path, "-c", BROKEN.format(sabotage=sabotage))
    assert done.returncode == 1
    assert "  WRONG: it should be " in done.stdout
    assert "On SQLite: 64 steps, 0 wrong." in done.stdout
    assert "right" not in done.stdout.rpartition("On memory")[2]
    assert "CommandError" in done.stderr
    assert "wrong" in done.stderr


def test_demo_ends_with_1_where_redis_does_not_answer(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    done = run(tmp_path, *DEMO, REDIS_URL=url)
    assert done.returncode == 1
    assert "can't be reached" in done.stderr
    assert "Traceback" not in done.stderr
