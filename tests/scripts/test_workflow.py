"""The workflow on GitHub runs the environments of tox, and nothing else."""

from __future__ import annotations

import re
from configparser import ConfigParser
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKFLOW = (ROOT / ".github/workflows/tests.yml").read_text()


def env_list() -> list[str]:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return [env for line in tox["tox"]["env_list"].split("\n") for env in _expanded(line) if env]


def _expanded(line: str) -> list[str]:
    parts = re.split(r"\{([^}]*)\}", line.strip().rstrip(","))
    choices = [[text.strip() for text in part.split(",")] for part in parts[1::2]]
    fixed = parts[::2]
    return [
        "".join(text for pair in zip(fixed, (*chosen, ""), strict=True) for text in pair)
        for chosen in product(*choices)
    ]


def test_the_workflow_runs_each_environment_of_tox_once() -> None:
    matrix = re.findall(r"^ +- ([\w-]+)$", WORKFLOW, re.MULTILINE)
    assert len(matrix) > 8
    assert matrix == env_list()


def test_the_workflow_only_installs_and_calls_tox() -> None:
    commands = re.findall(r"- run: (?:>-\n)?((?:.(?!- ))+)", WORKFLOW, re.DOTALL)
    words = [command.split()[0] for command in commands]
    assert words == ["apt-get", "pip", "tox", "sudo", "pip", "tox"]
