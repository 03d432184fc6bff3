"""A site under gunicorn: what ten gets in a request cost its clients, its worker and its server.

One worker with four threads serves four clients, which each keep a connection open. In each round
every contender serves them for a while.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests import servers

from .cases import value
from .load_site import Client
from .processes import cpu_seconds, listening_on
from .report import SMALL, Spread, table
from .servers import DATABASES, REDIS, database_url, redis_url
from .traffic import Latency

STORES = "BENCHMARK_STORES"
"""The environment variable that tells the worker the stores, separated by commas."""

KEYS = [f"page:{number}" for number in range(10)]
ROOT = Path(__file__).parent.parent
CLIENTS = 4
ROUNDS = 8
ROUND_SECONDS = 1.0


@dataclass
class Page:
    """A page of the site, and what serving it took in each round."""

    name: str
    path: str
    expected: str
    per_second: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        """Return its line of the table; CPU times are those of a request."""
        server = f"{median(self.server):.2f}" if any(self.server) else ""
        cells = [f"{median(self.per_second):,.0f}", str(Latency.of(self.milliseconds))]
        return [self.name, *cells, str(Spread.of(self.worker)), server]


def compare_served(stores: Collection[str]) -> None:
    """Print a table for each store that is not in the worker's own memory."""
    # Imported late, because they need the models, which need the settings.
    from .lineup import site_contenders

    stores = [store for store in stores if store in DATABASES or store in REDIS]
    with _gunicorn(stores) as (url, gunicorn):
        for store in stores:
            pages = [Page("no get", "/", "0")]
            for number, contender in enumerate(site_contenders(store)):
                contender.set_many(dict.fromkeys(KEYS, value(SMALL, 0)))
                pages.append(Page(contender.name, f"/{store}/{number}", str(len(KEYS))))
            server = _processes(store)
            for number in range(ROUNDS):
                for page in pages if number % 2 else pages[::-1]:
                    _round(page, url, gunicorn, server)
            head = ["requests/s", "ms: median / 99 % / worst", "worker's CPU, ms", "server's, ms"]
            print(f"\n{table([store, *head], [page.row() for page in pages])}", flush=True)


@contextmanager
def _gunicorn(stores: Collection[str]) -> Iterator[tuple[str, set[int]]]:
    """Serve the site; yield its URL and the process of gunicorn."""
    port = servers.free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", f"{__package__}.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "gthread", "--threads", str(CLIENTS), "--log-level", "warning"),
    ]
    with tempfile.TemporaryDirectory() as home:
        # gunicorn puts its control socket into its home.
        environ = {"HOME": home, "XDG_RUNTIME_DIR": home, STORES: ",".join(stores)}
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ})
        try:
            servers.wait_for(port, process)
            yield f"http://127.0.0.1:{port}", {process.pid}
        finally:
            process.terminate()
            process.wait(30)


def _processes(store: str) -> set[int]:
    """Return the server's processes; none for SQLite, which runs in the worker."""
    if store == "sqlite":
        return set()
    return listening_on(database_url(store) if store in DATABASES else redis_url(store))


def _round(page: Page, url: str, gunicorn: set[int], server: set[int]) -> None:
    with ThreadPoolExecutor(CLIENTS) as crew:
        # The first requests open connections, here and in the worker.
        clients = list(crew.map(lambda _: _connected(page, url), range(CLIENTS)))
        worked, served = cpu_seconds(gunicorn), cpu_seconds(server)
        began = time.perf_counter()
        took = list(crew.map(lambda client: _visits(page, client, began), clients))
        seconds = time.perf_counter() - began
    requests = sum(map(len, took))
    page.per_second.append(requests / seconds)
    page.worker.append((cpu_seconds(gunicorn) - worked) / requests * 1000)
    page.server.append((cpu_seconds(server) - served) / requests * 1000)
    for each in took:
        page.milliseconds += each


def _connected(page: Page, url: str) -> Client:
    client = Client(url)
    _visit(page, client)
    return client


def _visits(page: Page, client: Client, began: float) -> list[float]:
    """Visit a page until the round is over; return the milliseconds of each visit."""
    took = []
    while time.perf_counter() - began < ROUND_SECONDS:
        started = time.perf_counter()
        _visit(page, client)
        took.append((time.perf_counter() - started) * 1000)
    return took


def _visit(page: Page, client: Client) -> None:
    answer = client.ask("GET", page.path)
    if (answer.status, answer.body) != (200, page.expected):
        raise RuntimeError(f"{page.name}, {page.path}: {answer.status} {answer.body[:500]}")
