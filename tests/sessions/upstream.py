"""Django's own tests of session engines, from the sdist of the installed Django version.

Wheels don't contain them. pip downloads the sdist once for each environment and keeps it there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

import django
from django.contrib.sessions.backends.db import SessionStore

TESTS = "tests/sessions_tests/tests.py"


class UnavailableError(Exception):
    """The sdist could not be downloaded."""


def load() -> ModuleType:
    """Return the test module. Raises UnavailableError."""
    # The module imports this one, which defines a model of an app that is not installed. Only tests
    # of Django's own engine use it.
    neighbour = ModuleType("sessions_tests.models")
    neighbour.SessionStore = SessionStore  # type: ignore[attr-defined]
    sys.modules[neighbour.__name__] = neighbour
    spec = importlib.util.spec_from_file_location("sessions_tests.tests", _source())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _source() -> Path:
    """Return the file with the tests, in the environment of the running Python."""
    kept = Path(sys.prefix) / f"django-{django.__version__}-sessions-tests.py"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            text = _fetch(folder)
        # Atomically, because the workers of a parallel test run may do this at the same time.
        made = kept.with_suffix(f".{os.getpid()}")
        made.write_bytes(text)
        made.replace(kept)
    return kept


def _fetch(folder: str) -> bytes:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    what = ("--no-binary", "Django", "--no-deps", f"Django=={django.__version__}")
    done = subprocess.run(
        [*pip, *what, "--dest", folder], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise UnavailableError(
            f"pip could not download Django's sdist: {done.stderr.strip()[-500:]}"
        )
    [sdist] = Path(folder).iterdir()
    with tarfile.open(sdist) as archive:
        top = archive.getnames()[0].partition("/")[0]
        tests = archive.extractfile(f"{top}/{TESTS}")
        assert tests is not None
        return tests.read()
