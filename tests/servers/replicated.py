"""PostgreSQL with a streaming standby, for tests that fail over from one to the other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.servers import PostgreSQL
from tests.servers.proxy import Fault, Proxy

PATIENCE = 20.0
"""How many seconds a server may take to get into a state."""


def wait_until(ready: Callable[[], Any], what: str) -> Any:
    """Wait until `ready()` is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.01)
    raise TimeoutError(f"{what}: not within {PATIENCE:.0f} seconds")


class ReplicatedPostgreSQL(PostgreSQL):
    """A PostgreSQL that can be a primary, or the standby of another one."""

    def query(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement as a superuser; return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def sessions(self, condition: str) -> list[int]:
        """Return the process ids of sessions and background processes."""
        return [pid for (pid,) in self.query(f"SELECT pid FROM pg_stat_activity WHERE {condition}")]

    def wait_for_waiting_commits(self, number: int) -> list[int]:
        """Wait until commits wait for the synchronous standby; return their process ids."""

        def waiting() -> list[int] | None:
            pids = self.sessions("wait_event = 'SyncRep'")
            return pids if len(pids) == number else None

        return list(wait_until(waiting, f"{number} commits wait for the standby"))

    @contextmanager
    def without_wal_writer(self) -> Iterator[None]:
        """The process that writes commits with synchronous_commit=off to the log is paused.

        The block ends with the server's death, or the process continues.
        """
        [pid] = self.sessions("backend_type = 'walwriter'")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def set_read_only(self) -> None:
        """Refuse writes from now on, also in sessions that are open."""
        self.query("ALTER SYSTEM SET default_transaction_read_only = on")
        self.query("SELECT pg_reload_conf()")
        # A new session starts with the setting after the others got it.
        wait_until(
            lambda: self.query("SHOW default_transaction_read_only") == [("on",)], "read-only"
        )


class Standby(ReplicatedPostgreSQL):
    """A hot standby that replicates through a proxy, so that a test can cut it off."""

    def __init__(self, primary: ReplicatedPostgreSQL) -> None:
        self.primary = primary
        self.proxy = Proxy(primary.port)
        # Once it is promoted it must not wait for a standby of its own.
        super().__init__(**{**primary.settings, "synchronous_standby_names": ""})

    def _binaries(self) -> Any:
        return self.primary.binaries

    def create_data(self) -> None:
        self.run_program(
            *("pg_basebackup", "-D", str(self.data), "-h", "127.0.0.1"),
            *("-p", str(self.proxy.port), "-U", "postgres", "--write-recovery-conf"),
            *("--checkpoint=fast", "--no-sync"),
        )

    def promote(self) -> None:
        self.run_program("pg_ctl", "promote", "-D", str(self.data), "--wait", "--silent")

    def wait_until_streaming(self) -> None:
        """Wait until it has what the primary has written so far, and gets what follows."""
        [(written,)] = self.primary.query("SELECT pg_current_wal_lsn()")
        state = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn >= %s"
        if self.primary.settings["synchronous_standby_names"]:
            state += " AND sync_state = 'sync'"
        wait_until(lambda: self.primary.query(state, written), "the standby follows")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """The network between primary and standby is down during the block."""
        with self.proxy.failing(Fault.REFUSED):
            self.proxy.cut()
            wait_until(
                lambda: not self.primary.query("SELECT 1 FROM pg_stat_replication"), "it is cut off"
            )
            yield


class Pair:
    """A primary and its standby. After a failover the two change places for the next test."""

    def __init__(self) -> None:
        self.primary = ReplicatedPostgreSQL(
            synchronous_standby_names="",
            # A standby that is cut off tries to connect again after this time.
            wal_retrieve_retry_interval="50ms",
            # It could write to disk what a test wants to lose.
            autovacuum="off",
        )
        self.primary.start()
        self.standby = self._new_standby()
        self.promoted = False

    def _new_standby(self) -> Standby:
        standby = Standby(self.primary)
        standby.start()
        return standby

    def promote(self) -> None:
        """Make the standby a primary. What happens to the other one is up to the test."""
        self.standby.promote()
        self.promoted = True

    def fail_over(self) -> None:
        """Kill the primary, as a power cut would, and promote the standby."""
        self.primary.kill()
        self.promote()

    def prepare(self, *, synchronous: bool) -> None:
        """Have a primary and a standby that follows it, whatever the last test did to them."""
        names = "*" if synchronous else ""
        if self.promoted:
            self.primary.kill()
            self.standby.proxy.close()
            self.primary = self.standby
        if self.primary.settings["synchronous_standby_names"] != names or not self.primary.process:
            self.primary.stop()
            self.primary.settings["synchronous_standby_names"] = names
            self.primary.start()
        if self.promoted:
            self.standby, self.promoted = self._new_standby(), False
        self.standby.wait_until_streaming()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.standby.kill()
            self.primary.kill()
        self.standby.proxy.close()
