"""Check, build and tag a release of the commit that is checked out. See RELEASING.md.

python scripts/release.py [--dry-run]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from argparse import ArgumentParser
from configparser import ConfigParser
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "OWNER"
"""What setup.cfg has in its URLs until the project has an address."""
RELATIVE = re.compile(r"\]\((?!\w+:|#)([^)]+)\)")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="create no tag and no files")
    dry_run = parser.parse_args().dry_run
    version = _found(r'^__version__ = "(.+)"$', "django_persist/__init__.py")
    tag = f"v{version}"
    wrong = list(_wrong(version, tag))
    for each in wrong:
        print(f"- {each}")
    if wrong:
        sys.exit(f"{tag} can't be released.")
    with TemporaryDirectory(prefix="persist-release-") as temporary:
        files = _built(Path(temporary), tag)
        if dry_run:
            print(f"{tag} can be released. Nothing was changed.")
            return
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        (ROOT / "dist").mkdir()
        for file in files:
            shutil.copy(file, ROOT / "dist")
    _git("tag", "--annotate", tag, "--message", f"Release {version}")
    print(f"The tag {tag} and the files in dist/ are ready. To publish them:\n")
    print(f"  git push origin main {tag}")
    print("  twine upload dist/*")


def _wrong(version: str, tag: str) -> list[str]:
    """Return what prevents a release, each with its fix."""
    wrong = []
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        wrong.append(f"The version {version} is not X.Y.Z: correct django_persist/__init__.py.")
    if (branch := _git("rev-parse", "--abbrev-ref", "HEAD")) != "main":
        wrong.append(f"The branch is {branch}: check out main.")
    if _git("status", "--porcelain"):
        wrong.append("The tree is not clean: commit or stash what `git status` lists.")
    if _git("tag", "--list", tag):
        wrong.append(f"The tag {tag} already exists: raise the version.")
    urls = _urls()
    if "Source" not in urls or any(PLACEHOLDER in url for url in urls.values()):
        wrong.append(f"project_urls in setup.cfg still has {PLACEHOLDER}, or lacks Source.")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    if not sections or not sections[0].startswith("[Unreleased]"):
        wrong.append("CHANGELOG.md does not start with [Unreleased].")
    elif sections[0].partition("\n")[2].strip():
        wrong.append(f"CHANGELOG.md has changes under [Unreleased]: move them to [{version}].")
    latest = sections[1] if len(sections) > 1 else ""
    heading, _, text = latest.partition("\n")
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading):
        wrong.append(f"CHANGELOG.md needs '## [{version}] - YYYY-MM-DD' after [Unreleased].")
    elif not text.strip():
        wrong.append(f"CHANGELOG.md has no entries for {version}.")
    return wrong


def _urls() -> dict[str, str]:
    metadata = ConfigParser(interpolation=None)
    metadata.read(ROOT / "setup.cfg")
    lines = metadata.get("metadata", "project_urls", fallback="").strip().splitlines()
    return dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines)


def absolute_links(text: str, source: str, tag: str) -> str:
    """Return a README with links that also lead somewhere on PyPI: into the tree of the tag."""
    return RELATIVE.sub(rf"]({source.rstrip('/')}/blob/{tag}/\1)", text)


def _built(folder: Path, tag: str) -> list[Path]:
    """Build and check the commit, without uncommitted files of the checkout."""
    source, dist = folder / "source", folder / "dist"
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(source, filter="data")
    readme = source / "README.md"
    readme.write_text(absolute_links(readme.read_text(), _urls()["Source"], tag))
    _python("-m", "build", "--outdir", dist, source)
    files = sorted(dist.iterdir())
    _python("-m", "twine", "check", "--strict", *files)
    _python(source / "scripts/check_wheel.py", dist)
    return files


def _python(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True)


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def _found(pattern: str, path: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"{path} has no line {pattern}.")
    return found[1]


if __name__ == "__main__":
    main()
