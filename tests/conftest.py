"""Fixtures: a store on each server that is available, and a function that lets time pass."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import hypothesis
import pytest
import time_machine
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from tests import browser as browsers
from tests import extent, servers
from tests.aliases import alias, another, migrate
from tests.servers import disk
from tests.servers import galera as galera_servers
from tests.servers.pgbouncer import PgBouncer
from tests.servers.valkey_servers import ValkeyCluster, start_cluster

OpenStore: TypeAlias = Callable[..., Store]
Elapse: TypeAlias = Callable[[Store, float], None]

# No deadline: on a busy machine an example may take long. CI tries the same examples each time.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with SIGINT ignored, and the commands that tests interrupt
    # would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest explains failed assertions only in modules named like tests, unless it is asked to.
pytest.register_assert_rewrite("tests.store.contract")

DATABASE = "django_persist.drivers.database.DatabaseDriver"
MEMORY = "django_persist.drivers.memory.MemoryDriver"
REDIS = "django_persist.drivers.redis.RedisDriver"

BACKENDS: dict[str, dict[str, Any]] = {
    "sqlite": {"BACKEND": DATABASE, "OPTIONS": {"using": "default"}},
    "postgresql": {"BACKEND": DATABASE, "OPTIONS": {"using": "postgresql"}},
    "mariadb": {"BACKEND": DATABASE, "OPTIONS": {"using": "mariadb"}},
    "mysql": {"BACKEND": DATABASE, "OPTIONS": {"using": "mysql"}},
    "memory": {"BACKEND": MEMORY, "OPTIONS": {"name": "tests"}},
    "valkey": {"BACKEND": REDIS, "OPTIONS": {"cache": "valkey"}},
    "redis": {"BACKEND": REDIS, "OPTIONS": {"cache": "redis"}},
}
MYSQLS = ("mariadb", "mysql")
DATABASE_SERVERS = ("postgresql", *MYSQLS)
DATABASES = ("sqlite", *DATABASE_SERVERS)
WAYS = {"the direct way": True, "the cursor way": False}
"""How statements of one key reach a database, and the driver's option `direct`."""
OWN = ("own postgresql", "own mariadb")
COSTLY = {"shared_browser", "shared_cluster"}
"""Fixtures that take seconds to start."""

MISSING = {
    name: f"{variable} names no server{', or its client library is missing' * (name != 'redis')}"
    for name, variable, url in (
        ("mariadb", "PERSIST_TEST_MARIADB", servers.mariadb()),
        ("mysql", "PERSIST_TEST_MYSQL", servers.mysql()),
        ("redis", "PERSIST_TEST_REDIS", servers.redis()),
    )
    if url is None
}
if why := servers.PostgreSQL.missing():
    MISSING["own postgresql"] = why
if why := servers.MariaDB.missing():
    MISSING["own mariadb"] = why
if why := PgBouncer.missing():
    MISSING["pgbouncer"] = why
if why := galera_servers.missing():
    MISSING["galera"] = why
if why := disk.missing():
    MISSING["full_disk"] = why
if why := browsers.missing():
    MISSING["browser"] = why
if not shutil.which("msgmerge") and not os.environ.get("CI"):
    MISSING["gettext_tools"] = "there is no gettext (Debian: gettext)"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List what was tested and what not, once: not in the workers of a parallel run."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        noted = [
            each
            for report in terminalreporter.getreports("passed")
            for each in report.user_properties
        ]
        counts = Counter(value for name, value in noted if name == "server")
        if counts:
            terminalreporter.write_line(f"Tests that passed on each server: {_listed(counts)}.")
        interrupted: dict[str, Counter[str]] = {}
        for kind, driver, number in (value for name, value in noted if name == "interrupted"):
            interrupted.setdefault(kind, Counter())[driver] += number
        for kind, numbers in sorted(interrupted.items()):
            terminalreporter.write_line(
                f"Calls interrupted by {kind}: {numbers.total():,} ({_listed(numbers)})."
            )
        for name, why in MISSING.items():
            terminalreporter.write_line(f"Not tested on {name}: {why}.", yellow=True)
        if not extent.runs_costly():
            terminalreporter.write_line(extent.COSTLY_LEFT_OUT, yellow=True)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))


def pytest_xdist_auto_num_workers() -> int:
    return extent.workers()


def pytest_report_header(config: Any) -> str | None:
    """Say how long a run of all tests takes."""
    if not _runs_all(config):
        return None
    more_servers = 3 - len({"mariadb", "mysql", "redis"} & MISSING.keys())
    return extent.duration(config.getoption("numprocesses", None) or 1, more_servers)


def _runs_all(config: Any) -> bool:
    """Return whether the command line names no files and selects no tests."""
    is_selecting = config.option.keyword or config.option.markexpr
    return config.args_source is config.ArgsSource.TESTPATHS and not is_selecting


def pytest_configure(config: Any) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ and not _runs_all(config):
        extent.run_costly()
    config.addinivalue_line("markers", "first_parameters_only: run each test function once")
    config.addinivalue_line("markers", f"costly: {extent.COSTLY}")
    config.addinivalue_line("markers", "server(name): count the test as one on this server")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out tests that need what is missing (see the summary), and what a mark leaves out."""
    kept: list[Any] = []
    left_out: list[Any] = []
    seen = set()
    for item in items:
        is_left_out = not MISSING.keys().isdisjoint(_needed(item))
        if item.get_closest_marker("costly") and not extent.runs_costly():
            is_left_out = True
        if "the cursor way" in _needed(item):
            # On MySQL it is the same code as on MariaDB.
            is_left_out |= _servers(item).isdisjoint({*DATABASES, *OWN, "pgbouncer"} - {"mysql"})
        if item.get_closest_marker("first_parameters_only"):
            function = item.parent.nodeid, item.originalname
            is_left_out |= function in seen
            seen.add(function)
        (left_out if is_left_out else kept).append(item)
        item.user_properties += [("server", name) for name in sorted(_servers(item))]
    if not config.option.collectonly and any("galera" in _needed(item) for item in kept):
        galera_servers.use()  # It starts while other tests run.
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    # Each worker has a browser and a cluster of its own, if it needs one. Side by side, these tests
    # run on one worker, or on two.
    items[:] = sorted(kept, key=lambda item: COSTLY.isdisjoint(_needed(item)))


def _servers(item: Any) -> set[str]:
    """Return the names of the servers of a test, also those that a mark `server` gives it."""
    named = {name for mark in item.iter_markers("server") for name in mark.args}
    return named | {
        name for name in _needed(item) if name in (*BACKENDS, *OWN, "pgbouncer", "galera")
    }


def pytest_collection_finish() -> None:
    # Tests that look for garbage need not look at thousands of tests each time.
    gc.freeze()


def pytest_unconfigure() -> None:
    galera_servers.end_use()


def _needed(item: Any) -> Iterator[str]:
    """Yield the names of the servers, and of the fixtures, that a test runs on."""
    yield from getattr(item, "fixturenames", ())
    if hasattr(item, "callspec"):
        yield from (value for value in item.callspec.params.values() if type(value) is str)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Create the test databases of all aliases: pytest-django creates those of marked tests."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, serialized_aliases=())
    yield
    with django_db_blocker.unblock():
        connections.close_all()
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def pgbouncer(django_db_setup: None) -> Iterator[str]:
    """An alias of PostgreSQL through PgBouncer, with fewer sessions than the tests have callers."""
    bouncer = PgBouncer(servers.postgresql(), "transaction", default_pool_size="3")
    bouncer.start()
    through = {"HOST": "127.0.0.1", "PORT": bouncer.port, "DISABLE_SERVER_SIDE_CURSORS": True}
    with alias("pgbouncer", another("postgresql", **through)) as name:
        yield name
    bouncer.kill()  # PostgreSQL can't drop the test database while it has sessions there.


@dataclass(frozen=True)
class OwnServer:
    """A server that the tests have started, and the alias of its database."""

    server: servers.PostgreSQL | servers.MariaDB
    alias: str
    database: dict[str, Any]

    def admin(self, *statements: str) -> None:
        """Run statements as a user who may do everything."""
        user = "postgres" if isinstance(self.server, servers.PostgreSQL) else "admin"
        with alias("admin", {**self.database, "USER": user}) as name:
            for statement in statements:
                with connections[name].cursor() as cursor:
                    cursor.execute(statement)


@pytest.fixture(scope="session")
def own_servers(
    django_db_setup: None, django_db_blocker: Any
) -> Iterator[Callable[[str], OwnServer]]:
    """Return a function that starts a server on its first call, and then returns that server.

    Not in a folder: a second fixture of this name would start a server for the same alias.
    """
    with ExitStack() as stack:

        @cache
        def start(kind: str) -> OwnServer:
            server = (
                servers.PostgreSQL(fsync="on", max_connections="8")
                if kind == "own postgresql"
                else servers.MariaDB(max_connections="10")
            )
            server.start()
            stack.callback(server.kill)
            name = kind.replace(" ", "_")
            database = servers.database(server.url)
            stack.enter_context(alias(name, database))
            with django_db_blocker.unblock():  # only for this, not for other tests
                migrate(name)
            connections[name].close()
            return OwnServer(server, name, database)

        yield start


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """A Redis Cluster of three nodes, one for each worker."""
    cluster = start_cluster(3)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[browsers.Browser]:
    """A browser, one for each worker."""
    browser = browsers.Browser()
    yield browser
    browser.quit()


@pytest.fixture
def browser(shared_browser: browsers.Browser) -> browsers.Browser:
    """A headless Chromium without cookies, to visit `live_server`."""
    shared_browser.reset()
    return shared_browser


@pytest.fixture
def gettext_tools() -> None:
    """Leaves the test out where gettext's tools are missing. CI must have them."""


def available(names: Iterable[str]) -> list[str]:
    """Return the servers that are there: it takes time to collect tests that are then left out."""
    return [name for name in names if name not in MISSING]


@pytest.fixture(params=available(BACKENDS))
def server(request: pytest.FixtureRequest) -> str:
    """The name of each server in turn."""
    return str(request.param)


@pytest.fixture(params=available(DATABASES))
def database(request: pytest.FixtureRequest) -> str:
    """The name of each database in turn."""
    return str(request.param)


@pytest.fixture(params=["the direct way", pytest.param("the cursor way", marks=pytest.mark.costly)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the drivers of the test, and of the processes that it starts, reach their database.

    A module that runs on both ways says so: `pytestmark = pytest.mark.usefixtures("way")`.
    """
    defaults: Any = DatabaseDriver.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "direct", WAYS[request.param])
    return str(request.param)


@pytest.fixture
def open_store(settings: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[OpenStore]:
    """Return a function that makes a server's store the default one, with more settings if given.

    Calls run outside a transaction, as a project's do. What they leave is deleted at the end.
    """
    opened: list[Store] = []

    def open_(server: str, **more: Any) -> Store:
        settings.PERSIST = {"default": {**BACKENDS[server], **more}}
        opened.append(stores["default"])
        return opened[-1]

    with django_db_blocker.unblock():
        yield open_
        for store in opened:
            for _ in store.driver.purge(10_000):
                pass
            store.driver.remove_many(list(store.driver.keys("")))
            store.driver.close()


@pytest.fixture
def store(server: str, open_store: OpenStore) -> Store:
    """The default store, on each server in turn."""
    return open_store(server)


@pytest.fixture(params=available(name for name in BACKENDS if name != "memory"))
def shared_store(request: pytest.FixtureRequest, open_store: OpenStore) -> Store:
    """The default store, on each server that other processes can reach, in turn."""
    return open_store(request.param)


@pytest.fixture
def database_store(database: str, open_store: OpenStore) -> Store:
    """The default store, on each database in turn."""
    return open_store(database)


def leave_expired(store: Store, mapping: dict[str, Any]) -> None:
    """Store entries that have already expired, also for other processes."""
    if type(store.driver).__name__ == "RedisDriver":
        store.set_many(mapping, expires=0.01)
        time.sleep(0.02)
    else:
        with time_machine.travel(time.time() - 60):
            store.set_many(mapping, expires=1)


@pytest.fixture
def elapse() -> Iterator[Elapse]:
    """Return a function that lets seconds pass for a store, by moving the application's clock.

    A Redis server goes by its own clock, which only waiting moves.
    """
    with time_machine.travel(time.time(), tick=True) as clock:

        def elapse_(store: Store, seconds: float) -> None:
            if type(store.driver).__name__ == "RedisDriver":
                time.sleep(seconds)
            else:
                clock.shift(seconds)

        yield elapse_
