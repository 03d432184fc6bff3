"""Settings of MariaDB, each on its own server that writes to its disk."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.aliases import alias
from tests.servers import MariaDB, database

from .compare import OneByOne, Tuned, make_table, ratios

FLUSH = "innodb-flush-log-at-trx-commit"


def tune(seconds: float) -> None:
    if why := MariaDB.missing():
        print(f"\nSkipping MariaDB: {why}.")
        return
    with ExitStack() as stack:
        servers = [MariaDB(**{FLUSH: flush, "innodb-buffer-pool-size": "128M"}) for flush in "12"]
        for server in servers:
            server.start()
            stack.callback(server.stop)
        durable, relaxed = (database(server.url) for server in servers)
        socket: dict[str, Any] = {**durable, "HOST": str(servers[0].folder / "socket")}
        contenders = []
        for number, (name, settings) in enumerate(
            {
                "default settings": durable,
                "a Unix socket": socket,
                f"{FLUSH.replace('-', '_')} 2": relaxed,
            }.items()
        ):
            using = stack.enter_context(alias(f"tuned_{number}", settings))
            make_table(using)
            contenders.append(Tuned(name, Store(DatabaseDriver(using))))
        ratios("MariaDB", contenders, ("get", "set", "incr", "set_many", "keys"), seconds)
        ratios("MariaDB", contenders, ("get", "set"), seconds, threads=8)
        first = contenders[0]
        loop = OneByOne("200 calls in a loop", first.store)
        ratios("MariaDB", [first, loop], ("get_many", "set_many"), seconds)
