"""Load the test project with concurrent clients, and check every answer.

python benchmarks/load_site.py http://127.0.0.1:8000 [--clients 8] [--incrs 5000] [--keys 250]

Each client is a process with one connection. All clients increment the same few counters, and all
try to create the same keys. Each sum must be returned exactly once, without gaps. Of the clients
that create a key, one must get a 201 and the others a 409, and the entry must hold the winner's
value. Any other answer is an error. Prints the result as JSON, exits with 1 if something is wrong,
and deletes what it stored.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import secrets
import sys
import time
from collections import Counter, defaultdict
from http.client import HTTPConnection, HTTPException
from queue import Empty
from typing import Any, NamedTuple
from urllib.parse import urlsplit

COUNTERS = 4
SECONDS = 300
REQUEST_SECONDS = 60


class Answer(NamedTuple):
    """What a client sent and received. The status of a failed request is 0."""

    method: str
    path: str
    sent: str | None
    status: int
    body: str


class Client:
    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._connection = HTTPConnection(self._netloc, timeout=REQUEST_SECONDS)

    def ask(self, method: str, path: str, body: str | None = None) -> Answer:
        try:
            self._connection.request(method, path, body)
            response = self._connection.getresponse()
            return Answer(method, path, body, response.status, response.read().decode())
        except (OSError, HTTPException) as error:
            # The request may have been applied, so sending it again could count it twice.
            self._connection.close()
            return Answer(method, path, body, 0, f"{type(error).__name__}: {error}")


def work(url: str, root: str, number: int, incrs: int, keys: int, start: Any, answers: Any) -> None:
    """Send one client's requests. All clients create the same keys at about the same time."""
    client = Client(url)
    client.ask("GET", root)
    dice = random.Random(number)
    creates = [f"{root}/key/{key}" for key in range(keys)]
    counts = [f"{root}/counter/{dice.randrange(COUNTERS)}/incr" for _ in range(incrs)]
    jobs = sorted(
        [(index / max(keys, 1), path, str(number)) for index, path in enumerate(creates)]
        + [(index / max(incrs, 1), path, None) for index, path in enumerate(counts)],
        key=lambda job: job[0],
    )
    start.wait(REQUEST_SECONDS)
    answers.put([client.ask("POST", path, body) for _, path, body in jobs])


def run(url: str, clients: int, incrs: int, keys: int) -> dict[str, Any]:
    root = f"/store/load/{secrets.token_hex(8)}"
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(clients + 1), context.Queue()
    shares = [incrs // clients + (number < incrs % clients) for number in range(clients)]
    processes = [
        context.Process(target=work, args=(url, root, number, share, keys, start, queue))
        for number, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    try:
        start.wait(REQUEST_SECONDS)
        began = time.monotonic()
        answers: list[Answer] = []
        for _ in processes:
            answers += queue.get(timeout=SECONDS)
        seconds = time.monotonic() - began
    except Empty:
        sys.exit(f"Not finished after {SECONDS} seconds.")
    finally:
        for process in processes:
            process.join(REQUEST_SECONDS)
            process.kill()
    client = Client(url)
    try:
        wrong = judge(client, root, answers, clients=clients, incrs=incrs, keys=keys)
    finally:
        names = [f"counter/{number}" for number in range(COUNTERS)]
        for name in names + [f"key/{number}" for number in range(keys)]:
            client.ask("DELETE", f"{root}/{name}")
    return {
        "requests": len(answers),
        "per second": round(len(answers) / seconds),
        "statuses": dict(sorted(Counter(answer.status for answer in answers).items())),
        "wrong": wrong,
    }


def judge(
    client: Client, root: str, answers: list[Answer], *, clients: int, incrs: int, keys: int
) -> list[str]:
    """Return one line for each error."""
    wrong = []
    sums: dict[str, list[int]] = defaultdict(list)
    created: dict[str, list[str | None]] = defaultdict(list)
    duplicates: Counter[str] = Counter()
    for answer in answers:
        if answer.status == 200 and answer.path.endswith("/incr"):
            sums[answer.path.removesuffix("/incr")].append(int(answer.body))
        elif answer.status == 201:
            created[answer.path].append(answer.sent)
        elif answer.status == 409:
            duplicates[answer.path] += 1
        else:
            wrong.append(f"{answer.method} {answer.path}: {answer.status} {answer.body[:500]}")
    if sum(map(len, sums.values())) != incrs:
        wrong.append(f"{sum(map(len, sums.values()))} of {incrs} incrs returned a sum")
    for path, returned in sums.items():
        if sorted(returned) != list(range(1, len(returned) + 1)):
            wrong.append(f"{path}: the {len(returned)} sums are not 1 to {len(returned)}")
        stored = client.ask("GET", path)
        if (stored.status, stored.body) != (200, str(len(returned))):
            wrong.append(f"{path}: {len(returned)} sums returned, but {stored.body!r} is stored")
    for path in (f"{root}/key/{number}" for number in range(keys)):
        winners = created[path]
        if (len(winners), duplicates[path]) != (1, clients - 1):
            wrong.append(f"{path}: {len(winners)} created, {duplicates[path]} duplicates")
        stored = client.ask("GET", path)
        if stored.status != 200 or stored.body not in winners:
            wrong.append(
                f"{path}: {winners} created it, GET returns {stored.status} {stored.body!r}"
            )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--incrs", type=int, default=5000, help="the total of all clients")
    parser.add_argument("--keys", type=int, default=250, help="each created by every client")
    options = parser.parse_args()
    result = run(options.url, options.clients, options.incrs, options.keys)
    print(json.dumps(result, indent=2))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
