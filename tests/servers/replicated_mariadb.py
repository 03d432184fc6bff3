"""MariaDB with a replica by GTID, for tests that promote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.servers import MariaDB
from tests.servers.proxy import Fault, Proxy
from tests.servers.replicated import wait_until


class ReplicatedMariaDB(MariaDB):
    """A MariaDB that can be a primary, or the replica of another one."""

    # What each server writes at its start is its own, and not for the other.
    USERS = ("SET SESSION sql_log_bin = 0;", *MariaDB.USERS)

    def __init__(self, number: int) -> None:
        super().__init__(
            **{"server-id": str(number), "log-bin": "log", "log-slave-updates": "1"},
            **{"gtid-strict-mode": "1", "rpl-semi-sync-master-wait-point": "AFTER_SYNC"},
        )

    def query(self, *statements: str) -> list[dict[str, Any]]:
        """Run statements as a user who may do everything; return the rows of the last."""
        import MySQLdb.cursors  # it may not be installed

        with closing(MySQLdb.connect(host="127.0.0.1", port=self.port, user="admin")) as connection:
            cursor = connection.cursor(MySQLdb.cursors.DictCursor)
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def value(self, expression: str) -> Any:
        [row] = self.query(f"SELECT {expression} AS value")
        return row["value"]

    def status(self, name: str) -> str:
        [row] = self.query(f"SHOW STATUS LIKE '{name}'")
        return str(row["Value"])

    def empty(self) -> None:
        """Forget all entries, and all that was ever replicated."""
        self.query(
            *("STOP SLAVE", "RESET SLAVE ALL", "SET SESSION sql_log_bin = 0", "DROP DATABASE test"),
            *("CREATE DATABASE test CHARACTER SET utf8mb4", "RESET MASTER"),
            *("SET GLOBAL gtid_slave_pos = ''", "SET GLOBAL rpl_semi_sync_master_enabled = 0"),
        )


class MariaDBPair:
    """A primary and its replica; two proxies are the site's way to them and the way between them.

    After a failover the two change places for the next test.
    """

    def __init__(self) -> None:
        self.primary, self.replica = ReplicatedMariaDB(1), ReplicatedMariaDB(2)
        self.primary.start()
        self.replica.start()
        self.site = Proxy(self.primary.port)
        self.link = Proxy(self.primary.port)

    def prepare(self, semi_sync_timeout: int | None) -> None:
        """Have an empty primary and a replica that follows it, whatever the last test did to them.

        Each COMMIT waits for the replica up to that many milliseconds; with None not at all.
        """
        if self.site.target == self.replica.port:
            self.primary, self.replica = self.replica, self.primary
        self.link.target = self.site.target = self.primary.port
        for server in (self.primary, self.replica):
            if server.process is None:
                server.start()
            server.query("SET GLOBAL read_only = 0")
            server.empty()
        semi_sync = semi_sync_timeout is not None
        self.replica.query(
            f"SET GLOBAL rpl_semi_sync_slave_enabled = {semi_sync}",
            "SET GLOBAL read_only = 1",
            f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {self.link.port},"
            " master_user = 'admin', master_use_gtid = slave_pos, master_connect_retry = 1",
            "START SLAVE",
        )
        if semi_sync:
            self.primary.query(
                f"SET GLOBAL rpl_semi_sync_master_timeout = {semi_sync_timeout}",
                "SET GLOBAL rpl_semi_sync_master_enabled = 1",
            )
            status = "Rpl_semi_sync_master_clients"
            wait_until(
                lambda: self.primary.status(status) == "1", "the replica is semi-synchronous"
            )
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until the replica has all that has been committed on the primary."""
        position = self.primary.value("@@gtid_binlog_pos")
        assert self.replica.value(f"MASTER_GTID_WAIT('{position}', 20)") == 0

    def wait_for_waiting_commits(self) -> None:
        """Wait until a commit waits for the semi-synchronous replica."""
        status = "Rpl_semi_sync_master_wait_sessions"
        wait_until(lambda: self.primary.status(status) != "0", "a commit waits for the replica")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """The network between primary and replica is down during the block."""
        with self.link.failing(Fault.REFUSED):
            self.link.cut()
            yield

    def promote(self) -> None:
        """Make the replica a primary with all that it has received; lead new connections there."""
        [status] = self.replica.query("STOP SLAVE IO_THREAD", "SHOW SLAVE STATUS")
        assert self.replica.value(f"MASTER_GTID_WAIT('{status['Gtid_IO_Pos']}', 20)") == 0
        self.replica.query("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
        self.site.target = self.replica.port

    def fail_over(self) -> None:
        """Kill the primary, as a power cut would, and promote the replica."""
        self.primary.kill()
        self.promote()

    def stop(self) -> None:
        for proxy in (self.site, self.link):
            proxy.close()
        for server in (self.primary, self.replica):
            server.kill()
