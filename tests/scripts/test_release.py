"""scripts/release.py on a small project, with stubs for build, twine and check_wheel.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.costly

SCRIPT = Path(__file__).parents[2] / "scripts/release.py"
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-24\n\n- Something new.\n"
BUILD = """
import pathlib, sys
_, option, folder, source = sys.argv
assert option == "--outdir"
assert (pathlib.Path(source) / "CHANGELOG.md").is_file()
print((pathlib.Path(source) / "README.md").read_text())
pathlib.Path(folder).mkdir()
for name in ("django_persist-1.2.0.tar.gz", "django_persist-1.2.0-py3-none-any.whl"):
    (pathlib.Path(folder) / name).write_text("built")
"""
SETUP = """[metadata]
project_urls =
    Documentation = https://docs.example.org/
    Source = https://example.org/django-persist/
"""
README = "[a](docs/a.md#b), [c](testproject/), [d](https://example.org/d), [e](#e), ![f](f.png)"
TWINE = """
import sys
assert sys.argv[1:3] == ["check", "--strict"] and len(sys.argv) == 5, sys.argv
"""
CHECK_WHEEL = """
import pathlib, sys
[wheel] = pathlib.Path(sys.argv[1]).glob("*.whl")
print("used on a new site")
"""


class Project:
    """A git repository with the files that the script reads."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.tools = folder / "tools"
        self.write("django_persist/__init__.py", '__version__ = "1.2.0"\n')
        self.write("CHANGELOG.md", CHANGELOG)
        self.write("setup.cfg", SETUP)
        self.write("README.md", README)
        self.write("scripts/release.py", SCRIPT.read_text())
        self.write("scripts/check_wheel.py", CHECK_WHEEL)
        self.write(".gitignore", "/dist/\n")
        self.tools.mkdir()
        (self.tools / "build.py").write_text(BUILD)
        (self.tools / "twine.py").write_text(TWINE)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout.strip()

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "scripts/release.py", *arguments, check=False)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environ = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        for role in ("AUTHOR", "COMMITTER"):
            environ |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
        environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": str(self.tools)}
        environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return subprocess.run(
            command, cwd=self.root, env=environ, check=check, capture_output=True, text=True
        )

    def state(self) -> tuple[str, ...]:
        files = sorted(str(path) for path in self.root.rglob("*") if ".git" not in path.parts)
        return (*files, self.git("status", "--porcelain"), self.git("tag"), self.git("log"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_dry_run_checks_everything_and_changes_nothing(project: Project) -> None:
    before = project.state()
    done = project.release("--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "used on a new site" in done.stdout
    assert "v1.2.0 can be released. Nothing was changed." in done.stdout
    assert project.state() == before


def test_a_release_leaves_the_files_and_the_tag(project: Project) -> None:
    project.write("dist/django_persist-1.1.0.tar.gz", "old")
    done = project.release()
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (project.root / "dist").iterdir()) == [
        "django_persist-1.2.0-py3-none-any.whl",
        "django_persist-1.2.0.tar.gz",
    ]
    assert project.git("cat-file", "-t", "v1.2.0") == "tag"
    assert project.git("rev-parse", "v1.2.0^{commit}") == project.git("rev-parse", "HEAD")
    assert "git push origin main v1.2.0" in done.stdout
    assert "twine upload" in done.stdout


def _unreleased(project: Project) -> None:
    project.write("CHANGELOG.md", CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"))
    project.commit()


def _another_version(project: Project) -> None:
    project.write("django_persist/__init__.py", '__version__ = "1.3.0"\n')
    project.commit()


def _odd_version(project: Project) -> None:
    project.write("django_persist/__init__.py", '__version__ = "1.2"\n')
    project.commit()


def _no_date(project: Project) -> None:
    project.write("CHANGELOG.md", CHANGELOG.replace(" - 2026-11-24", ""))
    project.commit()


def _nothing_said(project: Project) -> None:
    project.write("CHANGELOG.md", CHANGELOG.replace("- Something new.\n", ""))
    project.commit()


def _no_unreleased(project: Project) -> None:
    project.write("CHANGELOG.md", CHANGELOG.replace("## [Unreleased]\n", ""))
    project.commit()


def _no_address(project: Project) -> None:
    project.write("setup.cfg", SETUP.replace("https://docs.example.org", "https://OWNER.org"))
    project.commit()


def _no_source(project: Project) -> None:
    project.write("setup.cfg", SETUP.partition("    Source")[0])
    project.commit()


def test_links_of_the_readme_are_absolute_in_the_release(project: Project) -> None:
    tree = "https://example.org/django-persist/blob/v1.2.0"
    assert (
        f"[a]({tree}/docs/a.md#b), [c]({tree}/testproject/), [d](https://example.org/d), "
        f"[e](#e), ![f]({tree}/f.png)" in project.release("--dry-run").stdout
    )
    assert (project.root / "README.md").read_text() == README


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda project: project.write("new.txt", ""), "The tree is not clean"),
        (lambda project: project.git("switch", "--create", "topic"), "The branch is topic"),
        (lambda project: project.git("tag", "v1.2.0"), "The tag v1.2.0 already exists"),
        (_unreleased, "has changes under [Unreleased]"),
        (_another_version, "needs '## [1.3.0] - YYYY-MM-DD'"),
        (_odd_version, "The version 1.2 is not X.Y.Z"),
        (_no_date, "needs '## [1.2.0] - YYYY-MM-DD'"),
        (_nothing_said, "has no entries for 1.2.0"),
        (_no_address, "still has OWNER"),
        (_no_source, "lacks Source"),
        (_no_unreleased, "does not start with [Unreleased]"),
    ],
)
def test_a_project_that_is_not_ready_is_not_released(
    project: Project, break_: Callable[[Project], object], message: str
) -> None:
    break_(project)
    before = project.state()
    done = project.release()
    assert done.returncode == 1
    assert message in done.stdout
    assert "can't be released" in done.stderr
    assert project.state() == before


@pytest.mark.parametrize("tool", ["build", "twine"])
def test_a_failing_tool_leaves_no_tag_and_no_files(project: Project, tool: str) -> None:
    (project.tools / f"{tool}.py").write_text("raise SystemExit(3)")
    before = project.state()
    assert project.release().returncode == 1
    assert project.state() == before
