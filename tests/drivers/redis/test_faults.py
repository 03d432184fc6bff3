"""Connections that are cut, refused or stalled: nothing is sent twice, and the next call works."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from django_persist import Store
from django_persist.drivers.redis import RedisDriver, scripts
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.calls import CALLS, MANY, READS, WRITES, Call, prepare
from tests.drivers.redis.conftest import (
    COMMANDS,
    RETRYING,
    MakeDriver,
    count_commands,
    retry_on_timeout,
)
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import ValkeyServer, wait_for

TIMEOUT = 0.1

PLAIN: dict[str, Any] = {}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def options() -> dict[str, Any]:
    return RETRYING


@pytest.fixture
def driver(
    server: ValkeyServer, proxy: Proxy, make_driver: MakeDriver, options: Any
) -> RedisDriver:
    """A driver that is connected through the proxy. The server has entries and the scripts."""
    for text in scripts.TEXTS.values():
        server.client.script_load(text)
    driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0", OPTIONS=options)
    prepare(driver)
    driver.set("beside", b'"beside"', None)
    return driver


@pytest.fixture
def impatient(
    driver: RedisDriver, proxy: Proxy, make_driver: MakeDriver, options: Any
) -> RedisDriver:
    """Another driver like it, with a short timeout."""
    options = {**options, "SOCKET_TIMEOUT": TIMEOUT}
    impatient = make_driver(f"redis://127.0.0.1:{proxy.port}/0", OPTIONS=options)
    retry_on_timeout(lambda: impatient.get("beside"))
    return impatient


@contextmanager
def unavailable() -> Iterator[StoreUnavailableError]:
    """Expect the error, without a value in it. Yields a copy that is complete after the block."""
    error = StoreUnavailableError("")
    with pytest.raises(StoreUnavailableError) as caught:
        yield error
    error.__cause__ = caught.value.__cause__
    error.maybe_applied = caught.value.maybe_applied
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert isinstance(error.__cause__, redis.ConnectionError | redis.TimeoutError)


def commands_sent(proxy: Proxy) -> int:
    """Return how many commands the clients have sent since the proxy began to record them."""
    return len(re.findall(rb"(?:^|\r\n)\*\d+\r\n\$", b"".join(proxy.requests)))


def assert_reads_own_replies(driver: RedisDriver) -> None:
    """No call reads the late reply of an earlier one."""
    for _ in range(3):
        assert retry_on_timeout(lambda: driver.get("beside")) == b'"beside"'
        many = retry_on_timeout(lambda: dict(driver.get_many(["beside", "absent"])))
        assert many == {"beside": b'"beside"'}


USUAL: dict[Call, dict[str, int]] = {}


def usual_commands(server: ValkeyServer, driver: RedisDriver, call: Call) -> dict[str, int]:
    """Return how often the call runs each command if nothing fails."""
    if call not in USUAL:
        before = count_commands(server)
        call.run(driver)
        USUAL[call] = {name: n - before[name] for name, n in count_commands(server).items()}
        prepare(driver)
    return USUAL[call]


@EVERY_CALL
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Fault.BEFORE, RETRYING),
        (Fault.BETWEEN, RETRYING),
        (Fault.WITHIN, RETRYING),
        (Fault.STALLED, RETRYING),
        (Fault.BETWEEN, PLAIN),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Fault) else "",
)
def test_a_connection_that_fails_during_a_call(
    server: ValkeyServer,
    proxy: Proxy,
    driver: RedisDriver,
    impatient: RedisDriver,
    call: Call,
    fault: Fault,
) -> None:
    failing = impatient if fault is Fault.STALLED else driver
    usual = usual_commands(server, driver, call)
    before = count_commands(server)
    proxy.strike(fault)
    with unavailable() as error:
        call.run(failing)
    assert error.maybe_applied is call.writes
    # On a busy machine the call may have given up before the proxy has even read it.
    wait_for(lambda: commands_sent(proxy), "What was sent")
    assert commands_sent(proxy) <= call.commands
    if fault is Fault.BEFORE:
        assert count_commands(server) == before
    else:
        wait_for(lambda: count_commands(server) != before, "The command")
        after = count_commands(server)
        assert all(after[name] - before[name] <= usual[name] for name in COMMANDS)
    assert_reads_own_replies(failing)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault.REFUSED, [*CALLS]),
        (Fault.STALLED, ["get", "keys", "set", "set, moment", "set_many", "remove_many"]),
    ],
)
def test_a_server_that_accepts_no_connection(
    server: ValkeyServer, proxy: Proxy, impatient: RedisDriver, fault: Fault, calls: list[str]
) -> None:
    before = count_commands(server)
    with proxy.failing(fault):
        for call in map(CALLS.__getitem__, calls):
            proxy.cut()
            started = time.monotonic()
            with unavailable() as error:
                call.run(impatient)
            assert not error.maybe_applied
            assert time.monotonic() - started < 2
    assert count_commands(server) == before
    assert_reads_own_replies(impatient)


def test_a_connection_that_was_cut_while_idle(proxy: Proxy, driver: RedisDriver) -> None:
    for call in CALLS.values():
        prepare(driver)
        expected = call.run(driver)
        prepare(driver)
        proxy.cut()
        result = call.run(driver)
        if isinstance(expected, list):
            assert sorted(result) == sorted(expected)
        else:
            assert result == expected


@pytest.mark.parametrize("call", [READS["get"], WRITES["set"], WRITES["set_many"]])
def test_a_connection_that_is_never_accepted(make_driver: MakeDriver, call: Call) -> None:
    """A listener whose queue is full drops SYNs: only SOCKET_CONNECT_TIMEOUT ends the wait."""
    options = {**RETRYING, "SOCKET_CONNECT_TIMEOUT": TIMEOUT}
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listener.getsockname())
        driver = make_driver(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", OPTIONS=options)
        with unavailable() as error:
            call.run(driver)
    for end in waiting:
        end.close()
    assert not error.maybe_applied
    assert isinstance(error.__cause__, redis.TimeoutError)


class TestSeveralRoundTrips:
    """The connection fails after the call has done a part of its work."""

    @pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN])
    @pytest.mark.parametrize("name", ["keys", "items", "count"])
    def test_a_later_page_of_a_listing(
        self, proxy: Proxy, driver: RedisDriver, name: str, fault: Fault
    ) -> None:
        proxy.strike(fault, after=1)
        with unavailable() as error:
            CALLS[name].run(driver)
        assert not error.maybe_applied
        assert driver.count("many") == len(MANY)

    @pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN])
    @pytest.mark.parametrize("name", ["set_many", "incr, lifetime", "remove_if"])
    def test_a_script_that_is_sent_with_its_text(
        self, server: ValkeyServer, proxy: Proxy, driver: RedisDriver, name: str, fault: Fault
    ) -> None:
        server.run("SCRIPT FLUSH")
        # A short EVALSHA gets through. A long one passes the proxy in several parts.
        proxy.strike(fault, after=1)
        with unavailable() as error:
            WRITES[name].run(driver)
        assert error.maybe_applied
        assert_reads_own_replies(driver)

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.update("k", lambda value: value + 1),
            lambda store: store.pop("k"),
            lambda store: store.get_or_create("new", 1),
        ],
        ids=["update", "pop", "get_or_create"],
    )
    def test_a_read_followed_by_a_write(
        self, proxy: Proxy, driver: RedisDriver, call: Callable[[Store], Any]
    ) -> None:
        store = Store(driver)
        for after, fault in ((0, Fault.BETWEEN), (1, Fault.BEFORE), (1, Fault.BETWEEN)):
            prepare(driver)
            proxy.strike(fault, after=after)
            with unavailable() as error:
                call(store)
            assert error.maybe_applied is (after == 1)
        assert_reads_own_replies(driver)

    def test_a_clear_that_removed_some_entries_may_have_been_applied(
        self, proxy: Proxy, driver: RedisDriver
    ) -> None:
        # clear() reads a page or two, removes a thousand keys, and so on. Each step fails once.
        left = []
        for after in range(4):
            prepare(driver)
            proxy.strike(Fault.BEFORE, after=after)
            with unavailable() as error:
                Store(driver).clear("many")
            left.append(driver.count("many"))
            assert error.maybe_applied or left[-1] == len(MANY)
        assert min(left) == len(MANY) - 1_000


@pytest.mark.parametrize("options", [PLAIN, RETRYING], ids=["plain", "retrying"])
def test_threads_while_connections_are_cut_at_random(proxy: Proxy, driver: RedisDriver) -> None:
    """No thread reads another's reply, no acknowledged write is lost, nothing is counted twice."""
    done = threading.Event()
    errors: list[StoreUnavailableError] = []

    def work(i: int) -> tuple[int, int]:
        counted = maybe = 0
        own = {key: value for key, value in stored.items() if key.startswith(f"{i}:")}
        last = {b"0"}  # The values that may be stored now.
        while not done.is_set():
            try:
                driver.incr("counter", 1, None)
                counted += 1
                new = b"%d" % counted
                last.add(new)
                driver.set(f"last{i}", new, None)
                last = {new}
                assert driver.get(f"last{i}") == new
                assert dict(driver.get_many(list(own))) == own
                key = random.choice(list(own))
                item = driver.get_item(key)
                assert item is not None and item.value == own[key]
                assert driver.contains(key)
            except StoreUnavailableError as error:
                errors.append(error)
                maybe += error.maybe_applied
        assert driver.get(f"last{i}") in last
        return counted, maybe

    stored = {f"{i}:{n}": b'"%d:%d"' % (i, n) for i in range(8) for n in range(20)}
    stored |= {f"last{i}": b"0" for i in range(8)} | {"counter": b"0"}
    driver.set_many([(key, value, None) for key, value in stored.items()])
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(work, i) for i in range(8)]
        end = time.monotonic() + 0.8
        wait_for(lambda: driver.get("counter") != b"0", "The first count")
        while time.monotonic() < end:
            time.sleep(random.uniform(0, 0.01))
            proxy.cut()
        done.set()
        results = [each.result() for each in running]
    counted, maybe = map(sum, zip(*results, strict=True))
    total = int(driver.get("counter") or 0)
    assert counted <= total <= counted + maybe
    assert errors and counted
    assert dict(driver.get_many(MANY)) == dict.fromkeys(MANY, b"1")
