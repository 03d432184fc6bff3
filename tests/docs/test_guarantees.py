"""The tests that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_promise_names_existing_tests() -> None:
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"`(test_\w+)`", page)}
    existing = {
        name
        for folder in ("tests", "django_persist/contract")
        for page in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"def (test_\w+)\(", page.read_text())
    }
    assert len(named) > 80
    assert named - existing == set()
