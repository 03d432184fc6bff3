"""A Galera cluster of three MariaDB nodes: one for a test run, which its workers share.

The worker that needs it first starts it, and the last one that used it stops it. Locks on files in
the run's folder say who uses it, and let one test at a time have it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from tests.servers import MariaDB, locked, shared_folder

LIBRARIES = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
)
NODES = 3
PATIENCE = 60.0
"""How many seconds a node may take to join."""


def missing() -> str | None:
    """Return why there can be no cluster on this machine. CI must have one."""
    why = MariaDB.missing()
    for program in ("rsync", "lsof"):
        if shutil.which(program) is None:
            why = why or f"there is no {program} on the PATH"
    if not any(map(os.path.exists, LIBRARIES)):
        why = why or "Galera's library is not installed"
    if why and os.environ.get("CI"):
        raise RuntimeError(f"CI must be able to start a Galera cluster: {why}")
    return why


def _free_ports() -> Iterator[int]:
    """Yield the first of each ten free ports, below those that the system gives to connections."""
    for first in range(20_000 + os.getpid() % 500 * 20, 32_000, 10):
        with suppress(OSError):
            for port in range(first, first + 10):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            yield first


def _user() -> str | None:
    # The daemon of rsync, which copies the data to a node that joins, gives up root's rights.
    return "mysql" if os.geteuid() == 0 else None


class Node:
    """One node. Its process may have been started by another worker."""

    def __init__(self, folder: str, port: int, peers: list[int], pid: int = 0) -> None:
        self.folder = Path(folder)
        self.port = port
        self.peers = peers
        self.pid = pid

    @property
    def url(self) -> str:
        return f"mysql://persist@127.0.0.1:{self.port}/test"

    def start(self, *, first: bool = False) -> None:
        """Start the node; don't wait until it has joined. `first` creates the cluster."""
        provider = {
            "base_port": self.port + 1,
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.port + 1}",
            "ist.recv_addr": f"127.0.0.1:{self.port + 2}",
            "gcache.size": "16M",
            # The others notice sooner that a node has died.
            "evs.keepalive_period": "PT0.5S",
            "evs.suspect_timeout": "PT2S",
            "evs.inactive_timeout": "PT6S",
        }
        others = ",".join(f"127.0.0.1:{port + 1}" for port in self.peers)
        settings = {
            "datadir": str(self.folder / "data"),
            "tmpdir": str(self.folder),
            "socket": str(self.folder / "socket"),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "innodb-buffer-pool-size": "16M",
            "innodb-autoinc-lock-mode": "2",
            # A node that dies gets what it lacks from the others.
            "innodb-flush-log-at-trx-commit": "0",
            "binlog-format": "ROW",
            "wsrep-on": "ON",
            "wsrep-provider": next(filter(os.path.exists, LIBRARIES)),
            "wsrep-provider-options": ";".join(
                f"{name}={value}" for name, value in provider.items()
            ),
            "wsrep-cluster-address": f"gcomm://{others}",
            "wsrep-node-address": f"127.0.0.1:{self.port + 1}",
            "wsrep-sst-receive-address": f"127.0.0.1:{self.port + 4}",
            "wsrep-sst-method": "rsync",
            **({"init-file": str(self.folder / "users.sql")} if first else {}),
        }
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", "--skip-name-resolve"),
                    *(f"--{name}={value}" for name, value in settings.items()),
                    *(["--wsrep-new-cluster"] if first else []),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=_user(),
                start_new_session=True,  # An interrupted worker must not end it for the others.
            )
        self.pid = process.pid
        # This process may end before the node. Nobody asks for its exit status.
        process.returncode = 0

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while not self._has_ended():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _has_ended(self) -> bool:
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def connect(self) -> Any:
        """Return a connection of a user who may do everything."""
        import MySQLdb  # it may not be installed

        return MySQLdb.connect(host="127.0.0.1", port=self.port, user="admin")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; return its rows."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall())
        finally:
            connection.close()

    def is_synced(self) -> bool:
        """Return whether it takes part in the cluster, and has what the others have."""
        with suppress(Exception):
            status = dict(self.query("SHOW STATUS LIKE 'wsrep%'"))
            return (status["wsrep_ready"], status["wsrep_local_state_comment"]) == ("ON", "Synced")
        return False

    def wait_until_synced(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.is_synced():
            if time.monotonic() > deadline or not Path(f"/proc/{self.pid}/cmdline").read_bytes():
                raise TimeoutError((self.folder / "log").read_text(errors="replace")[-5000:])
            time.sleep(0.05)


class Cluster:
    """The nodes, as the run's file describes them."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @classmethod
    def create(cls) -> Cluster:
        """Start a cluster; return before its nodes have joined."""
        ports = list(islice(_free_ports(), NODES))
        folders = [Path(tempfile.mkdtemp(prefix="persist-galera-")) for _ in ports]
        for folder in folders:
            (folder / "data").mkdir()
        nodes = [Node(str(f), p, ports) for f, p in zip(folders, ports, strict=True)]
        (folders[0] / "users.sql").write_text("\n".join(MariaDB.USERS))
        subprocess.run(
            [
                *("mariadb-install-db", "--no-defaults", "--skip-test-db", "--skip-name-resolve"),
                *("--auth-root-authentication-method=normal", f"--datadir={folders[0] / 'data'}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folders[0])},
        )
        if user := _user():
            subprocess.run(["chown", "-R", user, *map(str, folders)], check=True)
        nodes[0].start(first=True)
        return cls(nodes)

    def wait_until_complete(self) -> None:
        """Wait until each node has joined; start those that don't run."""
        self.nodes[0].wait_until_synced()
        for node in self.nodes[1:]:  # One after the other: one node at a time can give its data.
            if not node.pid:
                node.start()
            node.wait_until_synced()

    def destroy(self) -> None:
        for node in self.nodes:
            if node.pid:
                node.kill()
            shutil.rmtree(node.folder, ignore_errors=True)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps([[str(n.folder), n.port, n.peers, n.pid] for n in self.nodes]))

    @classmethod
    def load(cls, path: Path) -> Cluster:
        return cls([Node(*arguments) for arguments in json.loads(path.read_text())])


def run_lock(name: str) -> AbstractContextManager[None]:
    """Hold a lock of the run for the block."""
    return locked(shared_folder() / f"galera-{name}")


class Use:
    """This process's use of the run's cluster."""

    def __init__(self) -> None:
        self.state = shared_folder() / "galera.json"
        with run_lock("state"):
            self.mark = (shared_folder() / "galera-users").open("w")
            fcntl.flock(self.mark, fcntl.LOCK_SH)
            if not self.state.exists():
                Cluster.create().save(self.state)

    @contextmanager
    def cluster(self) -> Iterator[Cluster]:
        """Have the whole cluster for the block: no other test uses it meanwhile."""
        with run_lock("test"):
            with run_lock("state"):
                cluster = Cluster.load(self.state)
            try:
                cluster.wait_until_complete()
                cluster.save(self.state)
                yield cluster
            finally:
                cluster.save(self.state)

    def end(self) -> None:
        """Stop the cluster if no other process uses it."""
        with run_lock("state"):
            self.mark.close()
            with (
                (shared_folder() / "galera-users").open("w") as mark,
                suppress(BlockingIOError),
            ):
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Cluster.load(self.state).destroy()
                self.state.unlink()


@cache
def use() -> Use:
    """Return this process's use. The first call of all processes starts the cluster."""
    return Use()


def end_use() -> None:
    """Stop the cluster if this process used it, and no other one still does."""
    if use.cache_info().currsize:
        use().end()
