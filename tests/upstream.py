"""Tests of other projects, from their sdists: their wheels have none.

pip downloads each sdist once for each user. Its name then has its SHA-256, which is checked at
each use.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tests import servers


class UnavailableError(Exception):
    """The sdist could not be downloaded."""


def sdist(project: str, version: str, sha256: str | None = None) -> Path:
    """Return the sdist of a project's version. With `sha256` it must be that very file.

    Raises UnavailableError.
    """
    kept = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "django-persist"
    kept /= "sdists"
    kept.mkdir(parents=True, exist_ok=True)
    name = f"{project}-{version}."
    # One worker of a parallel test run downloads it, while the others wait: pip takes seconds.
    with servers.locked(kept / "lock"):
        for found in kept.glob(f"{name}*.tar.gz"):
            digest = _digest(found)
            if found.name == f"{name}{digest}.tar.gz" and sha256 in (None, digest):
                return found
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            _download(project, version, folder)
            [made] = Path(folder).iterdir()
            digest = _digest(made)
            if sha256 not in (None, digest):
                raise RuntimeError(f"The sdist of {project} {version} has the SHA-256 {digest}.")
            # Atomically, because the run may end within a copy.
            return made.replace(kept / f"{name}{digest}.tar.gz")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(project: str, version: str, folder: str) -> None:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    # pip asks the sdist for its metadata, for which it may need a build backend: as a wheel.
    what = ("--no-binary", project, "--no-deps", f"{project}=={version}")
    done = subprocess.run(
        [*pip, *what, "--dest", folder], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        error = done.stderr.strip()[-500:]
        raise UnavailableError(f"pip could not download the sdist of {project}: {error}")


def load(sdist: Path, path: str, name: str) -> ModuleType:
    """Return the module `name`, made of one file of the sdist, without its neighbours."""
    with tarfile.open(sdist) as archive:
        # An sdist has thousands of files: read no further than the one.
        member = next(member for member in archive if member.name.partition("/")[2] == path)
        file = archive.extractfile(member)
        assert file is not None
        loader = _Source(file.read().decode())
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    loader.exec_module(module)
    return module


class _Source(InspectLoader):
    """Loads a module from its text. Python asks it for the lines of a traceback."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_source(self, fullname: str) -> str:
        return self.text


def unpack(sdist: Path) -> Path:
    """Return the folder with the files of the sdist, which the test run has for itself."""
    with tempfile.TemporaryDirectory(dir=servers.shared_folder()) as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        [top] = Path(folder).iterdir()
        unpacked = servers.shared_folder() / top.name
        if not unpacked.exists():
            top.replace(unpacked)
    return unpacked
