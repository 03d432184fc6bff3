"""PgBouncer in front of the run's PostgreSQL."""

from __future__ import annotations

import os
import shutil
from urllib.parse import urlsplit

from tests.servers import Server

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
"""Debian installs it where only root's PATH leads."""


class PgBouncer(Server):
    """PgBouncer of the machine. It refuses to run as root; root runs it as nobody.

    `pool_mode` is "transaction", "statement" or "session".
    """

    @staticmethod
    def program() -> str | None:
        return shutil.which("pgbouncer", path=PATH)

    @classmethod
    def missing(cls) -> str | None:
        """Return why there can be none on this machine."""
        return None if cls.program() else "there is no pgbouncer on the PATH"

    def __init__(self, url: str, pool_mode: str, **settings: str) -> None:
        super().__init__()
        server = urlsplit(url)
        host, port = server.hostname, server.port or 5432
        login = f"user={server.username}" + f" password={server.password}" * bool(server.password)
        self.config = self.folder / "pgbouncer.ini"
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            **settings,
        }
        lines = ["[databases]", f"* = host={host} port={port} {login}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        self.config.write_text("\n".join(lines))
        if self.user():
            shutil.chown(self.folder, "nobody")

    def user(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    def command(self) -> list[str]:
        return [str(self.program()), str(self.config)]
