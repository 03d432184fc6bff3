"""Export, import and copy use no more memory for many entries than for few."""

from __future__ import annotations

import resource
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, Final

from django.core.management import CommandError, call_command

from django_persist import stores
from tests.conftest import BACKENDS, OpenStore
from tests.extent import LONG
from tests.management.exports import lines
from tests.processes import Place, context, enter, place
from tests.store.test_listing_memory import KILOBYTE

FEW: Final = 3_000
MANY: Final = 1_000_000 if LONG else 20_000

LONG_LINE: Final = 70_000_000
"""More than the default of --max-value-bytes."""

BOUND: Final = 4_000_000
"""How much larger the peak may be, in bytes. The text of MANY entries, if kept, takes more."""

PADDING: Final = "x" * 300


def move(where: Place, files: list[str]) -> list[int]:
    """Move the entries of each file in turn; return the peak memory in bytes after each."""
    enter(where)
    found = []
    for file in files:
        quiet = {"verbosity": 0}
        call_command("persist", "import", file, **quiet)
        call_command("persist", "import", file, **quiet)  # Now every entry is already there.
        call_command("persist", "export", f"{file}.again", **quiet)
        call_command("persist", "copy", "default", "other", **quiet)
        call_command("persist", "copy", "default", "other", "--overwrite", **quiet)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE)
    return found


def test_export_import_and_copy_use_bounded_memory(
    open_store: OpenStore, settings: Any, tmp_path: Path
) -> None:
    open_store("valkey")
    open_store("sqlite")
    settings.PERSIST = {"default": BACKENDS["sqlite"], "other": BACKENDS["valkey"]}
    files = []
    for number in (FEW, MANY):
        file = tmp_path / f"{number}.jsonl"
        entries = (
            b'{"key":"key:%d","expires_at":%b,"value":"%b"}'
            % (n, b"null" if n % 2 else b'"2126-01-01T00:00:00Z"', PADDING.encode())
            for n in range(number)
        )
        file.write_bytes(lines(*entries))
        files.append(str(file))
    with context.Pool(1) as pool:
        few, many = pool.apply(move, (place(), files))
    assert many - few < BOUND
    assert stores["other"].count() == stores["default"].count() == MANY
    assert len(Path(f"{files[1]}.again").read_bytes().splitlines()) == MANY + 2


def load(where: Place, file: str, *options: str) -> tuple[int, str]:
    """Import a file; return the peak memory in bytes, and what was reported."""
    enter(where)
    errors = StringIO()
    with suppress(CommandError):
        call_command("persist", "import", file, *options, verbosity=0, stderr=errors)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE, errors.getvalue()


def test_a_line_that_is_too_long_is_not_read_into_memory(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store("sqlite")
    file = tmp_path / "long.jsonl"
    long = b'{"key":"long","expires_at":null,"value":"%b"}' % (b"x" * LONG_LINE)
    short = b'{"key":"short","expires_at":null,"value":1}'
    file.write_bytes(lines(long, short))
    peaks = []
    for options in ((), ("--max-value-bytes", str(2 * LONG_LINE))):
        with context.Pool(1) as pool:
            peak, errors = pool.apply(load, (place(), str(file), *options))
        peaks.append(peak)
        assert ("Line 2 is too long: see MAX_VALUE_BYTES" in errors) is (not options)
        assert sorted(store.keys()) == (["long", "short"] if options else ["short"])
    assert peaks[0] < peaks[1] - LONG_LINE
