"""Run commands from tests: in this process, or in a process of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.signals import setting_changed
from django.db import connections

from tests.conftest import BACKENDS, OpenStore

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """The exit code of a command, and its output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal(io.StringIO):
    """A stream that looks like a terminal to a command."""

    def isatty(self) -> bool:
        return True


def persist(*args: str, stdin: bytes = b"", stderr: io.StringIO | None = None) -> Result:
    """Run `manage.py persist` in this process."""
    return call("persist", *args, stdin=stdin, stderr=stderr)


def call(*args: str, stdin: bytes = b"", stderr: io.StringIO | None = None) -> Result:
    """Run a command in this process."""
    out, err = io.BytesIO(), stderr or io.StringIO()
    stdout = io.TextIOWrapper(out, encoding="utf-8", newline="")
    original, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    code = 0
    try:
        call_command(*args, stdout=stdout, stderr=err)
    except CommandError as error:
        code = error.returncode
        err.write(f"{error}\n")
    finally:
        sys.stdin = original
    stdout.flush()
    return Result(code, out.getvalue().decode(), err.getvalue())


def open_two(open_store: OpenStore, source: str, target: str) -> None:
    """Open the stores "default" and "other". They may be on one server: each has its own PREFIX."""
    both = {"default": (source, "a:"), "other": (target, "other:")}
    for server, prefix in both.values():
        open_store(server, PREFIX=prefix)
    settings.PERSIST = {
        alias: {**BACKENDS[server], "PREFIX": prefix} for alias, (server, prefix) in both.items()
    }
    setting_changed.send(sender=None, setting="PERSIST", value=settings.PERSIST, enter=True)


def start(*args: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a new process, with the databases, caches and stores of this one."""
    databases = {alias: connections[alias].settings_dict for alias in connections}
    current = {"DATABASES": databases, "CACHES": settings.CACHES, "PERSIST": settings.PERSIST}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-m", "django", *args],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.management.process_settings",
            "PERSIST_TEST_SETTINGS": json.dumps(current, default=str),
        },
        **{**pipes, **options},
    )


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Result:
    """Wait until a process ends by itself."""
    try:
        out, err = process.communicate(stdin, timeout=60)
    finally:
        process.kill()
    return Result(process.returncode, out.decode(), err.decode())


def run(*args: str, stdin: bytes = b"") -> Result:
    """Run a command in a process of its own."""
    return finish(start(*args), stdin)
