"""Real servers that refuse because of their own state. Each refusal is raised; later calls work."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError
from tests.drivers.redis.calls import (
    CALLS,
    MANY,
    OTHER_WRITES,
    STORING,
    WRITES,
    assert_refused,
    assert_unchanged,
    prepare,
)
from tests.drivers.redis.conftest import RETRYING, MakeDriver, retry_on_timeout
from tests.servers.valkey_servers import ValkeyServer, wait_for

PAGE = Path(__file__).parents[3] / "docs/how-to/production.md"

OwnServer = Callable[..., ValkeyServer]


class TestLoading:
    def test_a_server_that_is_loading(self, own_server: OwnServer, make_driver: MakeDriver) -> None:
        server = own_server(
            *("--save", "3600 1", "--loading-process-events-interval-bytes", "1024")
        )
        driver = make_driver(server.url, OPTIONS=RETRYING)
        prepare(driver)
        # While it loads, the server answers clients after each kilobyte of the (compressed) file.
        driver.set_many([(f"large{i}", os.urandom(1_000), None) for i in range(1_000)])
        server.client.save()
        server.kill()
        server.options += ("--key-load-delay", "10000")  # Microseconds.
        server.start_only()
        assert_refused(driver, *CALLS, match="loading")
        assert server.client.info("persistence")["loading"] == 1
        server.client.config_set("key-load-delay", 0)
        wait_for(server.client.ping, "The server")
        assert_unchanged(driver)
        prepare(driver)


class TestReplicas:
    @pytest.fixture
    def replica(self, server: ValkeyServer, own_server: OwnServer) -> ValkeyServer:
        return own_server()

    @pytest.fixture
    def driver(self, replica: ValkeyServer, make_driver: MakeDriver) -> RedisDriver:
        driver = make_driver(replica.url, OPTIONS=RETRYING)
        prepare(driver)
        for call in WRITES.values():
            call.run(driver)
        prepare(driver)
        driver.touch("k", None)
        return driver

    def test_a_server_that_has_become_read_only(
        self, replica: ValkeyServer, driver: RedisDriver
    ) -> None:
        replica.run("REPLICAOF", "127.0.0.1", "1")  # There is no primary, so it keeps its entries.
        assert_refused(driver, *STORING, *OTHER_WRITES, match="read only")
        assert_unchanged(driver)
        replica.run("REPLICAOF", "NO", "ONE")
        prepare(driver)

    def test_a_replica_that_serves_no_stale_data(
        self, replica: ValkeyServer, driver: RedisDriver
    ) -> None:
        replica.client.config_set("replica-serve-stale-data", "no")
        replica.run("REPLICAOF", "127.0.0.1", "1")
        assert_refused(driver, *CALLS, match="MASTER|primary|read only")
        replica.run("REPLICAOF", "NO", "ONE")
        assert_unchanged(driver)

    def test_a_primary_with_too_few_replicas(
        self, replica: ValkeyServer, driver: RedisDriver
    ) -> None:
        replica.client.config_set("min-replicas-to-write", 1)
        assert_refused(driver, *STORING, *OTHER_WRITES, match="NOREPLICAS")
        assert_unchanged(driver)
        replica.client.config_set("min-replicas-to-write", 0)
        prepare(driver)


class TestOneServer:
    @pytest.fixture
    def server(self, own_server: OwnServer) -> ValkeyServer:
        return own_server()

    @pytest.fixture
    def driver(self, server: ValkeyServer, make_driver: MakeDriver) -> RedisDriver:
        driver = make_driver(server.url, OPTIONS={**RETRYING, "SOCKET_TIMEOUT": 10})
        for call in WRITES.values():
            prepare(driver)
            call.run(driver)
        prepare(driver)
        driver.touch("k", None)
        return driver

    def test_a_server_that_cannot_save(self, server: ValkeyServer, driver: RedisDriver) -> None:
        server.client.config_set("save", "3600 1")
        # A folder in place of the file: root can write into any folder, whatever its permissions.
        (server.folder / "dump.rdb" / "in the way").mkdir(parents=True)
        server.client.bgsave()
        wait_for(
            lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "err", "BGSAVE"
        )
        assert_refused(driver, *STORING, *OTHER_WRITES, match="MISCONF")
        assert_unchanged(driver)
        shutil.rmtree(server.folder / "dump.rdb")
        server.client.bgsave()
        wait_for(
            lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "ok", "BGSAVE"
        )
        prepare(driver)

    def test_a_server_that_is_busy_with_a_script(
        self, server: ValkeyServer, driver: RedisDriver
    ) -> None:
        server.client.config_set("busy-reply-threshold", 20)
        with spinning(server):
            assert_refused(driver, *CALLS, match="BUSY")
        assert_unchanged(driver)

    def test_a_user_who_may_only_read(
        self, server: ValkeyServer, driver: RedisDriver, make_driver: MakeDriver
    ) -> None:
        """The settings are wrong, not the server's state: redis-py's error is raised."""
        server.run("ACL SETUSER", "reader", "on", ">hush", "~*", "+@read", "+evalsha", "+eval")
        reader = make_driver(f"redis://reader:hush@127.0.0.1:{server.port}/0")
        for name, call in CALLS.items():
            if call.writes:
                with pytest.raises(redis.ResponseError, match="ermission") as caught:
                    call.run(reader)
                assert "secret" not in str(caught.value), name
            else:
                assert call.run(reader)
        assert_unchanged(driver)

    def test_a_user_who_may_do_what_the_docs_say(
        self, server: ValkeyServer, driver: RedisDriver, make_driver: MakeDriver
    ) -> None:
        lines = [line.split() for line in PAGE.read_text().splitlines() if "ACL SETUSER" in line]
        assert lines
        for words in lines:
            server.run(*words)
        site = make_driver(f"redis://site:PASSWORD@127.0.0.1:{server.port}/1")
        try:
            prepare(site)
            for call in CALLS.values():
                call.run(site)
            site.clock()
            with pytest.raises(redis.exceptions.NoPermissionError):
                site.servers.call(b"other", (b"GET", b"other"), False)
        finally:
            server.run("ACL DELUSER", "site")
        assert_unchanged(driver)

    def test_a_password_that_changes(self, server: ValkeyServer, driver: RedisDriver) -> None:
        client = server.client
        client.config_set("requirepass", "changed")
        server.run_as("changed", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert_refused(driver, *CALLS, match="[Aa]uthentication")
        server.run_as("changed", "CONFIG", "SET", "requirepass", "")
        assert_unchanged(driver)


@contextmanager
def spinning(server: ValkeyServer) -> Iterator[None]:
    """Keep the server busy with a script until the end of the block."""

    def spin() -> None:
        with pytest.raises(redis.ResponseError, match="killed"):
            server.run("EVAL", "while true do end", 0)

    thread = threading.Thread(target=spin)
    thread.start()
    client = server.client

    def busy() -> bool:
        try:
            return not client.ping()
        except redis.ResponseError as error:
            return "BUSY" in str(error)

    wait_for(busy, "The script")
    try:
        yield
    finally:
        client.execute_command("SCRIPT KILL")  # type: ignore[no-untyped-call]
        thread.join()


class TestStopped:
    """A server that is stopped or paused, and does not close its connections."""

    def test_calls_end_in_time_and_no_late_reply_is_read(
        self, own_server: OwnServer, make_driver: MakeDriver
    ) -> None:
        server = own_server()
        prepare(make_driver(server.url))
        driver = make_driver(server.url, OPTIONS={**RETRYING, "SOCKET_TIMEOUT": 0.15})
        retry_on_timeout(lambda: driver.set("counter", b"0", None))
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            for sent, name in enumerate(("incr", "incr", "get")):
                with pytest.raises(StoreUnavailableError) as caught:
                    driver.incr("counter", 1, None) if name == "incr" else driver.get("k")
                # The first is sent on the open connection. The others get no new connection.
                assert caught.value.maybe_applied is (sent == 0)
                assert isinstance(caught.value.__cause__, redis.TimeoutError)
            assert time.monotonic() - started < 3
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        wait_for(server.client.ping, "The server")
        assert retry_on_timeout(lambda: driver.get("k")) == b"1"
        assert retry_on_timeout(lambda: driver.get("counter")) in (b"0", b"1")
        assert retry_on_timeout(lambda: dict(driver.get_many(MANY))) == dict.fromkeys(MANY, b"1")

    def test_no_thread_reads_the_late_reply_of_another(
        self, own_server: OwnServer, make_driver: MakeDriver
    ) -> None:
        server = own_server()
        driver = make_driver(server.url, OPTIONS={**RETRYING, "SOCKET_TIMEOUT": 0.15})
        keys = [f"k{i}" for i in range(8)]
        writes = [(key, key.encode(), None) for key in keys]
        retry_on_timeout(lambda: driver.set_many(writes))
        paused = server.client
        errors: list[StoreUnavailableError] = []

        def work(key: str) -> None:
            for _ in range(30):
                try:
                    assert driver.get(key) == key.encode()
                    assert driver.incr("counter", 1, None)
                except StoreUnavailableError as error:
                    errors.append(error)

        threads = [threading.Thread(target=work, args=(key,)) for key in keys]
        paused.client_pause(400)  # Replies come after their calls have given up.
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors
        total = int(retry_on_timeout(lambda: driver.get("counter")) or 0)
        counted = 8 * 30 - len(errors)
        assert counted <= total <= counted + sum(error.maybe_applied for error in errors)
