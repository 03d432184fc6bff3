"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_promise_names_a_test_that_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()))
    there = {
        name
        for folder in ("tests", "django_persist/contract")
        for page in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"def (test_\w+)\(", page.read_text())
    }
    assert len(named) > 80
    assert named - there == set()
