"""`persist` and `stores` in `manage.py shell`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import OpenStore
from tests.management.commands import run

OTHER_APP = """
from django.core.management.commands import shell

class Command(shell.Command):
    def get_auto_imports(self):
        return {imports}
"""


def test_persist_and_stores_are_there_in_the_shell(open_store: OpenStore) -> None:
    open_store("sqlite").set("key", "value")
    result = run("shell", "-c", "print(persist.get('key'), list(stores), persist, Entry)")
    assert result.code == 0, result.err
    assert "value ['default'] <Store over DatabaseDriver" in result.out
    assert "Entry" in result.out.splitlines()[-1]
    assert run("shell", "--no-imports", "-c", "persist").code != 0


def in_project(folder: Path, apps: list[str], imports: str, code: str) -> str:
    """Run code in the shell of a project, whose app `other` has a shell of its own."""
    commands = folder / "other" / "management" / "commands"
    commands.mkdir(parents=True)
    (folder / "other" / "__init__.py").touch()
    (commands / "shell.py").write_text(OTHER_APP.format(imports=imports))
    (folder / "project_settings.py").write_text(f"INSTALLED_APPS = {apps!r}\n")
    done = subprocess.run(
        [sys.executable, "-m", "django", "shell", "-c", dedent(code)],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("apps", "imports", "expected"),
    [
        (
            ["django_persist", "other"],
            "['math.tau']",
            {"tau", "persist"},
        ),
        (["other", "django_persist"], "['math.tau']", {"tau"}),
        (["django_persist", "other"], "None", set()),
        (["django_persist"], "['math.tau']", {"persist"}),
    ],
    ids=["before another shell", "after another shell", "another without imports", "alone"],
)
def test_the_shell_of_another_app_is_kept(
    tmp_path: Path, apps: list[str], imports: str, expected: set[str]
) -> None:
    code = "print('FOUND', *({'tau', 'persist'} & globals().keys()))"
    [found] = [
        line
        for line in in_project(tmp_path, apps, imports, code).splitlines()
        if line.startswith("FOUND")
    ]
    assert set(found.split()[1:]) == expected
