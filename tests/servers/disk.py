"""Small disks, for tests that fill one under a server."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from functools import cache

from tests.servers import folder


class Disk:
    """A file system of a few megabytes. It lies in memory, and only root can mount it."""

    def __init__(self, megabytes: int) -> None:
        self.path = folder()
        options = f"size={megabytes}m,mode=0777"
        command = ["mount", "-t", "tmpfs", "-o", options, "persist-tests", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)

    def fill(self) -> None:
        """Leave no room until `make_room` is called."""
        with (self.path / "filling").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass

    def make_room(self) -> None:
        (self.path / "filling").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@cache
def missing() -> str | None:
    """Return why there can be no disk on this machine."""
    if sys.platform != "linux" or os.geteuid():
        return "only root can mount a small disk, on Linux"
    try:
        Disk(1).close()
    except (OSError, subprocess.CalledProcessError):
        return "root may not mount a small disk, as in most containers"
    return None
