"""Servers that can't be reached, are restarted, or refuse."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
import redis

from django_persist.drivers.redis import RedisDriver, scripts
from django_persist.exceptions import (
    InvalidStoreError,
    NotSupportedError,
    StoreUnavailableError,
)
from tests.drivers.redis.conftest import (
    MINUTE,
    RETRYING,
    MakeDriver,
    each,
)
from tests.servers.valkey_servers import ValkeyServer


class TestUnavailable:
    @pytest.mark.parametrize("options", [{}, RETRYING], ids=["plain", "retrying"])
    def test_connection_refused(self, make_driver: MakeDriver, options: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        driver = make_driver(f"redis://:hush@127.0.0.1:{port}/0", OPTIONS=options)
        for call in each(
            lambda: driver.create("k", b'"secret"', None),
            lambda: driver.get("k"),
            lambda: driver.set_many([("k", b'"secret"', None)]),
            lambda: list(driver.keys("")),
        ):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, redis.ConnectionError)
            assert str(port) in str(caught.value)
            assert "secret" not in str(caught.value)
            assert "hush" not in str(caught.value)

    def test_the_process_continues_after_a_restart(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server("--appendonly", "yes", "--appendfsync", "always")
        driver = make_driver(server.url)
        barrier = threading.Barrier(8)

        def incr(_: int) -> None:
            barrier.wait()
            driver.incr("k", 1, MINUTE)

        with ThreadPoolExecutor(
            8
        ) as threads:  # Several connections, all of which the restart closes.
            list(threads.map(incr, range(8)))
        server.stop()
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, MINUTE)
        assert not caught.value.maybe_applied
        server.start()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(incr, range(8)))
        assert driver.get("k") == b"16"

    def test_scripts_are_sent_again_after_a_script_flush(
        self, server: ValkeyServer, driver: RedisDriver
    ) -> None:
        for _ in range(2):
            server.run("SCRIPT FLUSH")
            driver.set_many([("k", b"1", MINUTE)])
            server.run("SCRIPT FLUSH")
            assert driver.replace("k", b"1", b"2", None)
            server.run("SCRIPT FLUSH")
            assert driver.incr("k", 1, MINUTE) == 3
        driver.set_many([(f"k{i}", b"1", None) for i in range(500)])
        server.run("SCRIPT FLUSH")
        assert len(list(driver.items(""))) == 501  # Many scripts in one batch.

    def test_too_many_clients(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server()
        holder = server.client
        holder.config_set("maxclients", 1)
        with pytest.raises(StoreUnavailableError) as caught:
            make_driver(server.url).set("k", b"1", None)
        assert not caught.value.maybe_applied

    def test_wrong_password(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server()
        server.client.config_set("requirepass", "right")
        make_driver(f"redis://:right@127.0.0.1:{server.port}").set("k", b"1", None)
        options = {"PASSWORD": "wrong"}
        with pytest.raises(StoreUnavailableError) as caught:
            make_driver(f"redis://127.0.0.1:{server.port}", OPTIONS=options).set("k", b"1", None)
        assert not caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, redis.AuthenticationError)

    @pytest.mark.parametrize(
        "code",
        [
            *("LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "NOAUTH"),
            *("READONLY", "OOM", "TRYAGAIN"),
        ],
    )
    def test_every_refusal(self, make_driver: MakeDriver, code: str) -> None:
        with Refusing(f"-{code} Not now.") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            with pytest.raises(StoreUnavailableError, match="Not now") as caught:
                driver.set("k", b"1", None)
            assert not caught.value.maybe_applied

    def test_maybe_applied_if_one_of_two_commands_ran(
        self, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.drivers.redis.driver.PAGE", 1)
        for lines, done in (
            ((":1", "-BUSY Now."), True),
            (("-BUSY Now.", "-BUSY Now."), False),
            (("-LOADING Now.", ":1"), True),
            (("-LOADING Now.", "-LOADING Now."), False),
        ):
            with Refusing(*lines) as port:
                driver = make_driver(f"redis://127.0.0.1:{port}")
                with pytest.raises(StoreUnavailableError) as caught:
                    driver.remove_many(["a", "b"])
                assert caught.value.maybe_applied is done

    def test_maybe_applied_if_one_of_two_scripts_ran(self, make_driver: MakeDriver) -> None:
        """The server is gone before the other can be sent again with its text."""
        command = scripts.evalsha(scripts.REMOVE_IF, [b"k"], b"1")
        for first, done in ((":1", True), ("-NOSCRIPT Send it.", False)):
            with Refusing(first, "-NOSCRIPT Send it.", once=True) as port:
                driver = make_driver(f"redis://127.0.0.1:{port}")
                with pytest.raises(StoreUnavailableError, match="can't be reached") as caught:
                    driver.servers.batch([(b"k", command)] * 2, True)
                assert caught.value.maybe_applied is done

    def test_other_errors_are_raised_unchanged(self, make_driver: MakeDriver) -> None:
        with Refusing("-NOPERM No permission.") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            with pytest.raises(redis.ResponseError, match="No permission"):
                driver.get("k")

    def test_a_node_of_a_cluster(self, make_driver: MakeDriver) -> None:
        with Refusing("-MOVED 1 127.0.0.1:1") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            with pytest.raises(InvalidStoreError, match="ClusterConnectionFactory"):
                driver.get("k")

    def test_an_unknown_command_does_not_reveal_the_value(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        driver = make_driver(own_server("--rename-command", "SET", "").url)
        with pytest.raises(NotSupportedError, match="lacks SET") as caught:
            driver.set("k", b"secret", None)
        error = caught.value
        assert "secret" not in f"{error} {error.__cause__}"
        assert error.__suppress_context__ or "secret" not in str(error.__context__)

    def test_a_server_that_is_too_old(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        driver = make_driver(own_server("--rename-command", "PEXPIRETIME", "").url)
        with pytest.raises(NotSupportedError, match="Redis 7"):
            driver.get_item("k")


class Refusing:
    """A server that answers every command but CLIENT with the lines, in turn.

    With `once` it gives each line once, and then closes the connection.
    """

    def __init__(self, *lines: str, once: bool = False) -> None:
        self.answers = len(lines) if once else None
        self.lines = cycle(line.encode() + b"\r\n" for line in lines)
        self.listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self.serve, daemon=True).start()
        port: int = self.listener.getsockname()[1]
        return port

    def __exit__(self, *error: object) -> None:
        self.listener.close()

    def serve(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            with line:
                while data := line.recv(65536):
                    commands = (b"\r\n" + data).split(b"\r\n*")[1:]
                    answers = [b"+OK\r\n" if b"CLIENT" in c else next(self.lines) for c in commands]
                    if self.answers == sum(b"CLIENT" not in c for c in commands):
                        self.listener.close()
                        # MSG_MORE holds it back, so that it arrives together with the close.
                        line.sendall(b"".join(answers), socket.MSG_MORE)
                        return
                    line.sendall(b"".join(answers))


def test_a_limit_from_before_the_call_is_not_raised_by_it(make_driver: MakeDriver) -> None:
    driver = make_driver("redis://127.0.0.1:1")
    before = signal.signal(signal.SIGALRM, raise_timeout)
    try:
        signal.raise_signal(signal.SIGALRM)
    except TimeoutError:
        with pytest.raises(StoreUnavailableError, match="can't be reached"):
            driver.set("state", b'"timed out"', None)
    finally:
        signal.signal(signal.SIGALRM, before)


def raise_timeout(signum: int, frame: Any) -> None:
    raise TimeoutError("the time limit")
