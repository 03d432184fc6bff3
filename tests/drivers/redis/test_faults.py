"""Lines that are cut, refused or stalled: nothing is sent twice, and the pool goes on."""

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
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.calls import CALLS, MANY, READS, WRITES, Call, prepare
from tests.drivers.redis.conftest import COMMANDS, RETRYING, MakeDriver, patiently, ran
from tests.servers.proxy import Fault, Proxy
from tests.servers.valkey_servers import ValkeyServer, wait_for

TIMEOUT = 0.2

PLAIN: dict[str, Any] = {}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def options() -> dict[str, Any]:
    return RETRYING


@pytest.fixture
def driver(proxy: Proxy, make_driver: MakeDriver, options: Any) -> RedisDriver:
    """A driver behind the proxy, with a connection, on a server that has entries."""
    driver = make_driver(f"redis://127.0.0.1:{proxy.port}/0", OPTIONS=options)
    prepare(driver)
    driver.set("beside", b'"beside"', None)
    return driver


@pytest.fixture
def hasty(driver: RedisDriver, proxy: Proxy, make_driver: MakeDriver, options: Any) -> RedisDriver:
    """Another, which doesn't wait for long."""
    options = {**options, "SOCKET_TIMEOUT": TIMEOUT}
    hasty = make_driver(f"redis://127.0.0.1:{proxy.port}/0", OPTIONS=options)
    patiently(lambda: hasty.get("beside"))
    return hasty


@contextmanager
def unavailable() -> Iterator[StoreUnavailableError]:
    """Expect the error, and that it gives no value away; hand it over to be looked at later."""
    error = StoreUnavailableError("")
    with pytest.raises(StoreUnavailableError) as caught:
        yield error
    error.__cause__ = caught.value.__cause__
    error.maybe_applied = caught.value.maybe_applied
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert isinstance(error.__cause__, redis.ConnectionError | redis.TimeoutError)


def sent(proxy: Proxy) -> int:
    """Return how many commands the clients sent."""
    return len(re.findall(rb"(?:^|\r\n)\*\d+\r\n\$", b"".join(proxy.requests)))


def still_answers(driver: RedisDriver) -> None:
    """No reply of another call is read."""
    for _ in range(3):
        assert patiently(lambda: driver.get("beside")) == b'"beside"'
        many = patiently(lambda: dict(driver.get_many(["beside", "absent"])))
        assert many == {"beside": b'"beside"'}


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
def test_a_line_that_fails_under_a_call(
    server: ValkeyServer,
    proxy: Proxy,
    driver: RedisDriver,
    hasty: RedisDriver,
    call: Call,
    fault: Fault,
) -> None:
    failing = hasty if fault is Fault.STALLED else driver
    call.run(driver)  # The server has the script from here on.
    prepare(driver)
    before = ran(server)
    call.run(driver)
    once = {name: count - before[name] for name, count in ran(server).items()}
    prepare(driver)
    before = ran(server)
    proxy.strike(fault)
    with unavailable() as error:
        call.run(failing)
    assert error.maybe_applied is call.writes
    # On a busy machine the call may have given up before the proxy has even read it.
    wait_for(lambda: sent(proxy), "What was sent")
    assert sent(proxy) <= call.commands
    if fault is Fault.BEFORE:
        assert ran(server) == before
    else:
        wait_for(lambda: ran(server) != before, "The command")
        assert all(ran(server)[name] - before[name] <= once[name] for name in COMMANDS)
    still_answers(failing)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault.REFUSED, [*CALLS]),
        (Fault.STALLED, ["get", "keys", "set", "set, moment", "set_many", "remove_many"]),
    ],
)
def test_a_server_that_does_not_let_anyone_in(
    server: ValkeyServer, proxy: Proxy, hasty: RedisDriver, fault: Fault, calls: list[str]
) -> None:
    before = ran(server)
    with proxy.failing(fault):
        for call in map(CALLS.__getitem__, calls):
            proxy.cut()
            started = time.monotonic()
            with unavailable() as error:
                call.run(hasty)
            assert not error.maybe_applied
            assert time.monotonic() - started < 10 * TIMEOUT
    assert ran(server) == before
    still_answers(hasty)


def test_a_line_that_was_cut_while_it_was_idle(proxy: Proxy, driver: RedisDriver) -> None:
    for call in CALLS.values():
        prepare(driver)
        wanted = call.run(driver)
        prepare(driver)
        proxy.cut()
        got = call.run(driver)
        assert sorted(got) == sorted(wanted) if isinstance(wanted, list) else got == wanted


@pytest.mark.parametrize("call", [READS["get"], WRITES["set"], WRITES["set_many"]])
def test_a_connection_that_is_not_taken_up(make_driver: MakeDriver, call: Call) -> None:
    """A listener whose queue is full lets SYNs fall: only SOCKET_CONNECT_TIMEOUT ends it."""
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
    """A call that has done some of its work before the line fails."""

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
        # A long command may pass the proxy in several parts, a short one in one.
        proxy.strike(fault, after=1)
        with unavailable() as error:
            WRITES[name].run(driver)
        assert error.maybe_applied
        still_answers(driver)

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.update("k", lambda value: value + 1),
            lambda store: store.pop("k"),
            lambda store: store.get_or_create("new", 1),
        ],
        ids=["update", "pop", "get_or_create"],
    )
    def test_the_first_step_reads_and_the_second_writes(
        self, proxy: Proxy, driver: RedisDriver, call: Callable[[Store], Any]
    ) -> None:
        store = Store(driver)
        for after, fault in ((0, Fault.BETWEEN), (1, Fault.BEFORE), (1, Fault.BETWEEN)):
            prepare(driver)
            proxy.strike(fault, after=after)
            with unavailable() as error:
                call(store)
            assert error.maybe_applied is (after == 1)
        still_answers(driver)

    def test_clear_that_has_removed_some_says_so(self, proxy: Proxy, driver: RedisDriver) -> None:
        # It reads a page or two, removes a thousand, and so on: each step fails once.
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
def test_threads_while_lines_are_cut_at_random(proxy: Proxy, driver: RedisDriver) -> None:
    """Nobody reads another's reply, nothing acknowledged is lost, nothing counted twice."""
    done = threading.Event()
    told: list[int] = []

    def work(i: int) -> tuple[int, int]:
        counted = maybe = 0
        own = {key: value for key, value in stored.items() if key.startswith(f"{i}:")}
        last = {b"0"}  # What may be stored now.
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
                told.append(1)
                maybe += error.maybe_applied
        assert driver.get(f"last{i}") in last
        return counted, maybe

    stored = {f"{i}:{n}": b'"%d:%d"' % (i, n) for i in range(8) for n in range(20)}
    stored |= {f"last{i}": b"0" for i in range(8)} | {"counter": b"0"}
    driver.set_many([(key, value, None) for key, value in stored.items()])
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(work, i) for i in range(8)]
        end = time.monotonic() + 1.5
        wait_for(lambda: driver.get("counter") != b"0", "The first count")
        while time.monotonic() < end:
            time.sleep(random.uniform(0, 0.01))
            proxy.cut()
        done.set()
        results = [each.result() for each in running]
    counted, maybe = map(sum, zip(*results, strict=True))
    total = int(driver.get("counter") or 0)
    assert counted <= total <= counted + maybe
    assert told and counted
    assert dict(driver.get_many(MANY)) == dict.fromkeys(MANY, b"1")
