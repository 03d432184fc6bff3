"""Servers and writers that are killed under load: every acknowledged write is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.test import override_settings

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import BACKENDS
from tests.drivers.redis.conftest import DJANGO_REDIS, MINUTE, RETRYING, MakeDriver
from tests.processes import context, race
from tests.servers.valkey_servers import ValkeyServer

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Written(NamedTuple):
    """What a writer reports about its calls."""

    counted: int
    maybe_counted: int
    last: int
    """The last value whose write was acknowledged."""

    tried: int
    """The last value that it sent."""

    pairs: int
    after: int
    """How many rounds succeeded after one had failed."""


@contextmanager
def driver_for(location: Any, **options: Any) -> Iterator[RedisDriver]:
    """Open a driver in another process, with that process's other settings."""
    alias = {"BACKEND": DJANGO_REDIS, "LOCATION": location, "OPTIONS": {**RETRYING, **options}}
    with override_settings(CACHES={**django_settings.CACHES, "persist": alias}):
        yield RedisDriver(cache="persist")


def write(i: int, location: Any) -> Written:
    """Write until the key "stop" is there and a round has succeeded after an error."""
    counted = maybe = last = tried = pairs = after = 0
    failed = stop = False
    with driver_for(location) as driver:
        while not (stop and after):
            try:
                stop = driver.contains("stop")
                driver.incr("counter", 1, MINUTE)
                counted += 1
                tried += 1
                driver.set(f"last{i}", b"%d" % tried, None)
                last = tried
                driver.set_many([(f"pair{i}:{side}", b"%d" % tried, None) for side in "ab"])
                pairs = tried
                driver.create(f"all{i}:{tried}", b"1", None)
                after += failed
            except StoreUnavailableError as error:
                failed = True
                maybe += error.maybe_applied
                time.sleep(0.01)
    return Written(counted, maybe, last, tried, pairs, after)


def test_a_server_killed_under_load(
    own_server: Callable[..., ValkeyServer], make_driver: MakeDriver, settings: Any
) -> None:
    settings.PERSIST = {"default": BACKENDS["valkey"]}  # `race` passes it to the processes.
    server = own_server(*DURABLE)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(race, write, server.url)
        for _ in range(2):
            wait_until_written(server, running)
            server.kill()
            time.sleep(0.1)
            server.start()
        wait_until_written(server, running)
        server.client.set(":persist:stop", b"1")
        written = [Written(*each) for each in running.result(60)]
    driver = make_driver(server.url)
    counter = int(driver.get("counter") or 0)
    counted = sum(each.counted for each in written)
    assert counted <= counter <= counted + sum(each.maybe_counted for each in written)
    for i, each in enumerate(written):
        assert each.after  # The same process could write again.
        assert each.last <= int(driver.get(f"last{i}") or 0) <= each.tried
        a, b = (int(driver.get(f"pair{i}:{side}") or 0) for side in "ab")
        assert a == b  # All or nothing, even if the server is killed.
        assert each.pairs <= a <= each.tried


def wait_until_written(server: ValkeyServer, running: Future[Any]) -> None:
    """Wait until the server has carried out some more writes."""
    client = server.client
    end = time.monotonic() + 20
    start = int(client.get(":persist:counter") or 0)
    while int(client.get(":persist:counter") or 0) < start + 30:
        assert not running.done()
        assert time.monotonic() < end
        time.sleep(0.01)


def write_and_report(location: str, done: Connection) -> None:
    """Write without end, and report each round that was stored."""
    with driver_for(location) as driver:
        number = 0
        while True:
            number += 1
            driver.set(f"k{number}", b"%d" % number, MINUTE)
            driver.set_many([(f"many{number}:{i}", b"%d" % number, None) for i in range(50)])
            total = driver.incr("counter", 1, MINUTE)
            done.send((number, total))


def test_a_writer_killed_while_it_writes(
    server: ValkeyServer, driver: RedisDriver, make_driver: MakeDriver
) -> None:
    reports: list[tuple[int, int]] = []
    for _ in range(3):
        driver.remove_many(list(driver.keys("")))
        ours, theirs = context.Pipe(duplex=False)
        writer = context.Process(target=write_and_report, args=(server.url, theirs))
        writer.start()
        theirs.close()
        reports = [ours.recv() for _ in range(50)]
        writer.kill()
        writer.join()
        while True:
            try:
                reports.append(ours.recv())  # Sent before the kill.
            except EOFError:
                break
        number, total = reports[-1]
        assert total <= int(driver.get("counter") or 0) <= total + 1
        keys = [f"k{i}" for i in range(1, number + 1)]
        assert dict(driver.get_many(keys)) == {key: key[1:].encode() for key in keys}
        for i in range(1, number + 2):  # The last one was under way: all or nothing.
            assert driver.count(f"many{i}:") in ((50,) if i <= number else (0, 50))
