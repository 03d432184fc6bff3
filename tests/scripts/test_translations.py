"""scripts/translations.py on a copy of the package, with gettext's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path, gettext_tools: None) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "django_persist", tmp_path / "django_persist", ignore=ignored)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/translations.py", tmp_path / "scripts")
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    """Run the script; return what it found wrong."""
    command = [sys.executable, "scripts/translations.py", *arguments]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (not done.stderr), done.stderr
    return done.stderr


@pytest.mark.costly
def test_a_new_text_has_to_be_translated_and_compiled(copy: Path) -> None:
    assert run(copy, "--check") == ""
    columns = copy / "django_persist/admin/columns.py"
    columns.write_text(
        columns.read_text().replace('_("Only the beginning', '_("Just the beginning')
    )
    found = run(copy, "--check")
    assert "de: not translated: Just the beginning is shown." in found
    assert "ja: not translated: Just the beginning is shown." in found
    # A check changes nothing.
    assert run(copy, "--check") == found
    assert "not translated" in run(copy)
    for po in copy.rglob("*.po"):
        # What msgmerge guessed is taken as the translation.
        po.write_text(re.sub(r"#, fuzzy\n#\| msgid .*\n", "", po.read_text()))
    assert "not compiled" in run(copy, "--check")
    assert run(copy) == ""
    assert run(copy, "--check") == ""


def test_a_text_that_is_gone_is_found(copy: Path) -> None:
    columns = copy / "django_persist/admin/columns.py"
    columns.write_text(columns.read_text().replace('_("Only the beginning is shown.")', '""'))
    assert "de: django.po is not up to date" in run(copy, "--check")


def test_without_gettext_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install gettext" in run(ROOT, "--check")
