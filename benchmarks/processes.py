"""The CPU time of other processes, which Linux lists in /proc."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def cpu_seconds(processes: Iterable[int]) -> float:
    """Return the CPU time of these processes and of all that descend from them."""
    parents, ticks = {}, {}
    for number, fields in _stats():
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    roots = set(processes)
    return sum(took for number, took in ticks.items() if _descends(number, roots, parents)) / TICKS


def _descends(number: int, roots: set[int], parents: dict[int, int]) -> bool:
    while number not in roots:
        if number not in parents:
            return False
        number = parents[number]
    return True


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield each process with what its file `stat` says after its name."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # It has ended.
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()


def listening_on(url: str) -> set[int]:
    """Return the processes that listen on the port of a URL on this machine.

    Empty if the server is on another machine, or belongs to another user.
    """
    parts = urlsplit(url)
    if not socket.gethostbyname(parts.hostname or "").startswith("127."):
        return set()
    sockets = {f"socket:[{inode}]" for inode in _listening(parts.port)}
    return {number for number, _ in _stats() if sockets & set(_open_files(number))}


def _listening(port: int | None) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *more = line.split()
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    yield more[5]


def _open_files(process: int) -> Iterator[str]:
    with suppress(PermissionError, FileNotFoundError):
        for file in (PROC / str(process) / "fd").iterdir():
            with suppress(FileNotFoundError):
                yield str(file.readlink())
