"""Everything that names the supported versions of Python and Django names the same ones."""

from __future__ import annotations

import re
import warnings
from configparser import ConfigParser
from itertools import product

import pytest
from django.utils import deprecation

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/reference/versions.md").read_text()
PAIRS = {
    (python, django)
    for python, djangos in re.findall(r"^\| (3\.\d+) \| ([\d., ]+) \|$", PAGE, re.MULTILINE)
    for django in djangos.split(", ")
}
PYTHONS = {python for python, _ in PAIRS}
DJANGOS = {django for _, django in PAIRS}


def setup_cfg() -> ConfigParser:
    found = ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def environments(text: str) -> set[tuple[str, str]]:
    """Return the pairs of tox environments, such as py{312, 313}-django{52, 60}."""
    pairs: set[tuple[str, str]] = set()
    for pythons, djangos in re.findall(
        r"\bpy(\d+|{[\d, ]+})-django(\d+|{[\d, ]+})$", text, re.MULTILINE
    ):
        found = product(re.findall(r"\d+", pythons), re.findall(r"\d+", djangos))
        pairs |= {(f"{python[0]}.{python[1:]}", f"{d[0]}.{d[1:]}") for python, d in found}
    return pairs


def test_the_page_lists_pairs() -> None:
    assert len(PAIRS) > 8


def test_the_classifiers() -> None:
    classifiers = setup_cfg()["metadata"]["classifiers"]
    assert set(re.findall(r"Python :: (3\.\d+)", classifiers)) == PYTHONS
    assert set(re.findall(r"Django :: (\d+\.\d+)", classifiers)) == DJANGOS


def test_the_oldest_versions_are_those_that_pip_requires() -> None:
    options = setup_cfg()["options"]

    def oldest(versions: set[str]) -> str:
        return min(versions, key=lambda version: [*map(int, version.split("."))])

    assert options["python_requires"] == f">={oldest(PYTHONS)}"
    assert f"Django>={oldest(DJANGOS)}" in options["install_requires"].split()


def test_tox() -> None:
    assert environments((ROOT / "tox.ini").read_text().partition("[testenv]")[0]) == PAIRS


def test_the_workflow() -> None:
    workflow = ROOT / ".github/workflows/tests.yml"
    assert environments(workflow.read_text()) == PAIRS


def test_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    sentence = re.search(r"It runs on Python ([\d., and]+) and Django ([\d., and]+), with", text)
    assert sentence
    python, django = (set(re.findall(r"\d+\.\d+", part)) for part in sentence.groups())
    assert (python, django) == (PYTHONS, DJANGOS)


@pytest.mark.parametrize("name", ["SQLite", "PostgreSQL", "MariaDB", "MySQL", "Redis", "Valkey"])
def test_each_server_is_named(name: str) -> None:
    assert f"| {name} |" in PAGE
    assert re.search(rf"with [^.]*\b{name}\b", (ROOT / "README.md").read_text())


@pytest.mark.parametrize(
    "category",
    [found for name, found in vars(deprecation).items() if name.startswith("RemovedIn")],
)
def test_what_django_will_remove_is_an_error(category: type[Warning]) -> None:
    with pytest.raises(category):
        warnings.warn("It will be removed.", category, stacklevel=1)
