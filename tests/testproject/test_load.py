"""The site under gunicorn, with eight clients that increment and create at the same time."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import servers
from tests.extent import LONG

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 8
INCRS = 5000 if LONG else 150
KEYS = 250 if LONG else 10


@contextmanager
def sqlite(folder: Path) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def postgresql(folder: Path) -> Iterator[dict[str, str]]:
    import psycopg

    url, name = servers.postgresql(), f"persist_load_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {"POSTGRESQL_URL": f"{url.rpartition('/')[0]}/{name}"}
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb(folder: Path) -> Iterator[dict[str, str]]:
    import MySQLdb

    url, name = servers.mariadb(), f"persist_load_{secrets.token_hex(4)}"
    assert url is not None
    config = servers.database(url)
    connection = MySQLdb.connect(
        host=config["HOST"],
        port=config["PORT"] or 3306,
        user=config["USER"],
        password=config["PASSWORD"],
    )
    try:
        connection.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield {"MARIADB_URL": f"{url.rpartition('/')[0]}/{name}"}
        finally:
            connection.query(f"DROP DATABASE {name}")
    finally:
        connection.close()


@contextmanager
def redis(folder: Path) -> Iterator[dict[str, str]]:
    url = servers.redis()
    assert url is not None
    yield {"REDIS_URL": url}


PREPARED: dict[str, Callable[[Path], AbstractContextManager[dict[str, str]]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mariadb": mariadb,
    "redis": redis,
}


@contextmanager
def site(environ: dict[str, str], folder: Path) -> Iterator[str]:
    """Serve the site with gunicorn; yield its URL."""
    port, log = servers.free_port(), folder / "gunicorn.log"
    command = [
        *(sys.executable, "-m", "gunicorn", "testproject.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--workers", "2", "--threads", "4", "--keep-alive", "60", "--log-level", "warning"),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        servers.wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        # pytest shows this if the test fails.
        sys.stderr.write(log.read_text())


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.costly] * (name == "sqlite")) for name in PREPARED
    ]
)
def site_url(
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[str]:
    with PREPARED[request.param](tmp_path) as where:
        environ = {
            **os.environ,
            **where,
            "PERSIST_STORE": request.param,
            # The default database of a store that is not in a database.
            "SQLITE_PATH": str(tmp_path / "site.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            # gunicorn puts its control socket there.
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=environ, check=True)
        with site(environ, tmp_path) as url:
            yield url


@pytest.mark.load
def test_concurrent_clients_get_the_right_answers(site_url: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "benchmarks/load_site.py", site_url, "--clients", str(CLIENTS)),
            *("--incrs", str(INCRS), "--keys", str(KEYS)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["statuses"] == {"200": INCRS, "201": KEYS, "409": KEYS * (CLIENTS - 1)}
    assert result["wrong"] == []
