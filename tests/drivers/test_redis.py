"""RedisDriver on a single server. What all drivers promise is in the contract; this is the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from typing import Any

import pytest
import redis
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_persist.drivers import redis_scripts as scripts
from django_persist.drivers import redis_servers
from django_persist.drivers.base import Write
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    DecodeError,
    InvalidExpiryError,
    InvalidStoreError,
    NotSupportedError,
    StoreUnavailableError,
)
from tests.redis_servers import Proxy, ValkeyServer, start, wait_for

DJANGO_REDIS = "django_redis.cache.RedisCache"
MINUTE = timedelta(minutes=1)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)

MakeDriver = Callable[..., RedisDriver]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ValkeyServer]:
    server = start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: ValkeyServer) -> ValkeyServer:
    shared_server.client.flushall()
    return shared_server


@pytest.fixture
def own_server() -> Iterator[Callable[..., ValkeyServer]]:
    servers = []

    def make(*options: str) -> ValkeyServer:
        servers.append(start(*options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


@pytest.fixture
def make_driver(settings: Any) -> MakeDriver:
    def make(location: Any, **alias: Any) -> RedisDriver:
        alias = {"BACKEND": DJANGO_REDIS, "LOCATION": location, **alias}
        settings.CACHES = {**settings.CACHES, "persist": alias}
        return RedisDriver(cache="persist")

    return make


@pytest.fixture
def driver(server: ValkeyServer, make_driver: MakeDriver) -> RedisDriver:
    return make_driver(server.url)


def each(*calls: Callable[[], object]) -> tuple[Callable[[], object], ...]:
    return calls


def server_now(server: ValkeyServer) -> datetime:
    seconds, micros = server.run("TIME")
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def calls(server: ValkeyServer, command: str) -> int:
    return int(server.client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def expires_at(driver: RedisDriver, key: str) -> datetime | None:
    item = driver.get_item(key)
    assert item is not None
    return item.expires_at


class TestEntries:
    def test_create_stores_once(self, driver: RedisDriver) -> None:
        assert driver.create("k", b"1", None)
        assert not driver.create("k", b"2", MINUTE)
        assert driver.get("k") == b"1"
        assert expires_at(driver, "k") is None

    @pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", "Zoë".encode(), b"x" * 1_000_000])
    def test_every_byte_comes_back(self, driver: RedisDriver, value: bytes) -> None:
        driver.set("k", value, None)
        assert driver.get("k") == value
        assert driver.get_many(["k"]) == {"k": value}
        assert driver.replace("k", value, value + b"!", None)
        assert driver.remove_if("k", value + b"!")

    def test_absent(self, driver: RedisDriver) -> None:
        assert driver.get("k") is None
        assert driver.get_item("k") is None
        assert not driver.contains("k")
        assert not driver.remove("k")
        assert not driver.touch("k", MINUTE)
        assert not driver.touch("k", None)
        assert not driver.touch("k", NEVER)
        assert not driver.replace("k", b"", b"1", None)
        assert not driver.remove_if("k", b"")

    def test_replace_and_remove_if_need_the_text_that_was_seen(self, driver: RedisDriver) -> None:
        driver.set("k", b"1", MINUTE)
        assert not driver.replace("k", b"2", b"3", None)
        assert not driver.remove_if("k", b"2")
        assert driver.get("k") == b"1"
        assert driver.replace("k", "1", b"3", None)
        assert expires_at(driver, "k") is None
        assert driver.remove_if("k", "3")
        assert not driver.contains("k")

    def test_remove(self, driver: RedisDriver) -> None:
        driver.set("k", b"1", None)
        assert driver.contains("k")
        assert driver.remove("k")
        assert not driver.contains("k")

    def test_the_key_is_make_keys_with_our_version(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
        make_driver(server.url, KEY_PREFIX="site", VERSION=7).set("k", b"1", None)
        assert server.client.keys() == [b"site:persist:k"]

    def test_one_command_each(self, server: ValkeyServer, driver: RedisDriver) -> None:
        beside = server.client
        for call in each(
            lambda: driver.create("k", b"1", MINUTE),
            lambda: driver.set("k", b"1", MINUTE),
            lambda: driver.set("k", b"1", MINUTE, keep=True),
            lambda: driver.get("k"),
            lambda: driver.get_item("k"),
            lambda: driver.touch("k", None),
            lambda: driver.incr("k", 1, MINUTE),
            lambda: driver.replace("k", b"2", b"3", MINUTE),
            lambda: driver.remove("k"),
        ):
            call()  # The server has the scripts from here on.
            before = beside.info("stats")["total_reads_processed"]
            call()
            # One more than that for the INFO that counts.
            assert beside.info("stats")["total_reads_processed"] - before == 2
        assert calls(server, "multi") == 0


class TestExpiry:
    def test_a_lifetime_is_rounded_up_to_a_millisecond(
        self, server: ValkeyServer, driver: RedisDriver
    ) -> None:
        driver.set("k", b"1", timedelta(microseconds=1))
        wait_for(lambda: not driver.contains("k"), "expiry")
        driver.set("k", b"1", timedelta(milliseconds=59_999, microseconds=1))
        assert 59_000 < server.client.pttl(driver.prefix + "k") <= 60_000
        assert driver.touch("k", timedelta(microseconds=1))
        wait_for(lambda: not driver.contains("k"), "expiry")

    def test_the_longest_lifetime(self, server: ValkeyServer, driver: RedisDriver) -> None:
        driver.set("k", b"1", timedelta(days=365_000))
        ends = expires_at(driver, "k")
        assert ends is not None
        assert abs(ends - server_now(server) - timedelta(days=365_000)) < MINUTE

    def test_a_moment_reads_back_in_utc(self, driver: RedisDriver) -> None:
        moment = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
        writes: list[Callable[[str], Any]] = [
            lambda key: driver.create(key, b"1", moment),
            lambda key: driver.set(key, b"1", moment),
            lambda key: driver.set(key, b"1", moment, keep=True),
            lambda key: driver.incr(key, 1, moment),
            lambda key: driver.set_many([Write(key, b"1", moment)]),
            lambda key: driver.create(key, b"1", None) and driver.touch(key, moment),
            lambda key: driver.create(key, b"1", None) and driver.replace(key, b"1", b"2", moment),
        ]
        for i, write in enumerate(writes):
            write(f"k{i}")
            ends = expires_at(driver, f"k{i}")
            assert ends == moment, i
            assert ends.tzinfo is UTC

    def test_a_moment_that_has_passed_changes_nothing(
        self, server: ValkeyServer, driver: RedisDriver
    ) -> None:
        driver.set("old", b"1", None)
        passed = server_now(server)
        for key in ("old", "new"):
            for call in each(
                partial(driver.create, key, b"9", passed),
                partial(driver.set, key, b"9", passed),
                partial(driver.set, key, b"9", passed, keep=True),
                partial(driver.incr, key, 1, passed),
                partial(driver.touch, key, passed),
                partial(driver.replace, key, b"1", b"9", passed),
                partial(driver.set_many, [Write("other", b"9", None), Write(key, b"9", passed)]),
            ):
                with pytest.raises(InvalidExpiryError, match="not in the future"):
                    call()
        assert dict(driver.items("")) == {"old": driver.get_item("old")}
        assert driver.get_item("old") == (b"1", None)

    def test_the_servers_clock_judges(
        self, driver: RedisDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.time", lambda: 1e9)
        monkeypatch.setattr("time.time_ns", lambda: 10**18)
        with pytest.raises(InvalidExpiryError):  # Still to come by the application's clock.
            driver.create("k", b"1", datetime(2010, 1, 1, tzinfo=UTC))
        assert not driver.contains("k")

    def test_gone_at_its_moment(self, server: ValkeyServer, driver: RedisDriver) -> None:
        moment = server_now(server) + timedelta(milliseconds=50)
        assert driver.create("k", b"1", moment)
        wait_for(lambda: not driver.contains("k"), "expiry")
        assert server_now(server) >= moment - timedelta(milliseconds=1)
        assert driver.get("k") is None
        assert driver.get_item("k") is None
        assert list(driver.keys("")) == []
        assert driver.create("k", b"2", None)

    def test_keep(self, driver: RedisDriver) -> None:
        soon = datetime(2100, 1, 1, tzinfo=UTC)
        for default in (None, MINUTE, NEVER):
            driver.set("ends", b"1", soon)
            driver.set("never", b"1", None)
            driver.remove("new")
            driver.set("ends", b"2", default, keep=True)
            driver.set("never", b"2", default, keep=True)
            driver.set("new", b"2", default, keep=True)
            assert expires_at(driver, "ends") == soon
            assert expires_at(driver, "never") is None
            assert (expires_at(driver, "new") is None) == (default is None)
            assert driver.replace("ends", b"2", b"3", default, keep=True)
            assert driver.replace("never", b"2", b"3", default, keep=True)
            assert expires_at(driver, "ends") == soon
            assert expires_at(driver, "never") is None
            driver.remove("new")
            keys = ["ends", "never", "new"]
            driver.set_many([Write(key, b"4", default) for key in keys], keep=True)
            assert driver.get_many(keys) == dict.fromkeys(keys, b"4")
            assert expires_at(driver, "ends") == soon
            assert expires_at(driver, "never") is None
            assert (expires_at(driver, "new") is None) == (default is None)

    def test_set_without_keep_takes_the_new_expiry(self, driver: RedisDriver) -> None:
        driver.set("k", b"1", MINUTE)
        driver.set("k", b"2", None)
        assert expires_at(driver, "k") is None

    def test_touch(self, driver: RedisDriver) -> None:
        driver.set("k", b"1", None)
        assert driver.touch("k", None)
        assert driver.touch("k", MINUTE)
        assert expires_at(driver, "k") is not None
        assert driver.touch("k", None)
        assert driver.get_item("k") == (b"1", None)


class TestUnixSocket:
    def test_it_works_as_tcp_does(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        path = f"/tmp/persist-{os.getpid()}.sock"  # A socket's name can't be long.
        server = own_server("--unixsocket", path)
        driver = make_driver(f"unix://{path}?db=2")
        driver.set("k", b"1", MINUTE)
        assert driver.get("k") == b"1"
        assert server.client.dbsize() == 0
        server.kill()
        with pytest.raises(StoreUnavailableError, match=path):
            driver.get("k")


class TestIncr:
    def test_expires_counts_for_the_call_that_starts(self, driver: RedisDriver) -> None:
        assert driver.incr("k", 5, NEVER) == 5
        assert driver.incr("k", -7, MINUTE) == -2
        assert driver.incr("k", 1, None) == -1
        assert expires_at(driver, "k") == NEVER
        assert driver.incr("never", 1, None) == 1
        assert driver.incr("never", 1, MINUTE) == 2
        assert expires_at(driver, "never") is None

    @pytest.mark.parametrize("expires", [None, MINUTE, NEVER])
    def test_64_bits_exactly(self, driver: RedisDriver, expires: Any) -> None:
        assert driver.incr("k", 2**53, expires) == 2**53
        assert driver.incr("k", 1, expires) == 2**53 + 1
        assert driver.incr("k", 2**63 - 2 - 2**53, expires) == 2**63 - 1
        assert driver.incr("k", 1, expires) is None
        assert driver.get("k") == b"%d" % (2**63 - 1)
        assert driver.incr("low", -(2**63), expires) == -(2**63)
        assert driver.incr("low", -1, expires) is None
        assert driver.incr("new", 2**63, expires) is None
        assert driver.incr("new", -(2**63) - 1, expires) is None
        assert not driver.contains("new")

    def test_minus_one_is_a_sum(self, driver: RedisDriver) -> None:
        assert driver.incr("k", -1, NEVER) == -1
        assert driver.incr("none", -1, None) == -1
        assert driver.incr("life", -1, MINUTE) == -1

    @pytest.mark.parametrize("expires", [None, MINUTE])
    @pytest.mark.parametrize("text", [b"1.0", b"01", b"+1", b" 1", b'"1"', b"null", b"-0", b"1e3"])
    def test_no_integer_is_left_alone(self, driver: RedisDriver, text: bytes, expires: Any) -> None:
        driver.set("k", text, None)
        assert driver.incr("k", 1, expires) is None
        assert driver.get_item("k") == (text, None)


class TestMany:
    def test_ten_thousand(self, server: ValkeyServer, driver: RedisDriver) -> None:
        entries = {f"k{i}": b"%d" % i for i in range(10_000)}
        reads, removals = calls(server, "mget"), calls(server, "unlink")
        driver.set_many([Write(key, value, MINUTE) for key, value in entries.items()])
        assert driver.get_many([*entries, "absent"]) == entries
        assert set(driver.keys("")) == set(entries)
        assert {key: item.value for key, item in driver.items("")} == entries
        assert driver.count("k99") == 111
        assert driver.remove_many([*entries, "absent"]) == 10_000
        assert driver.count("") == 0
        assert calls(server, "mget") - reads == 11
        assert calls(server, "unlink") - removals == 11

    def test_a_hundred_thousand_in_one_script(self, driver: RedisDriver) -> None:
        driver.set_many([Write(f"k{i}", b"1", None) for i in range(100_000)])
        assert driver.remove_many([f"k{i}" for i in range(100_000)]) == 100_000

    def test_none(self, driver: RedisDriver) -> None:
        driver.set_many([])
        assert driver.get_many([]) == {}
        assert driver.remove_many([]) == 0

    @pytest.mark.parametrize("special", [*"*?[]\\^-{}", "[ab]", "\\*", "[^a]", "Zoë*"])
    def test_a_prefix_is_no_pattern(self, driver: RedisDriver, special: str) -> None:
        wanted = {f"p{special}", f"p{special}1", f"p{special}{special}"}
        others = {"p", "pa1", "pab", "p1", "q*", "px" + special, "P" + special}
        driver.set_many([Write(key, b"1", None) for key in wanted | others])
        assert set(driver.keys(f"p{special}")) == wanted
        assert {key for key, _ in driver.items(f"p{special}")} == wanted
        assert driver.count(f"p{special}") == 3

    def test_only_what_is_ours_is_listed(self, server: ValkeyServer, driver: RedisDriver) -> None:
        client, prefix = server.client, driver.prefix.encode()
        driver.set("k", b"1", None)
        client.set(b"other", b"1")
        client.set(b"x" + prefix + b"k", b"1")
        client.set(prefix + b"\xff", b"1")
        client.rpush(prefix + b"list", b"1")
        assert list(driver.keys("")) == ["k"]
        assert [key for key, _ in driver.items("")] == ["k"]

    def test_items_skips_what_goes_meanwhile(self, driver: RedisDriver) -> None:
        driver.set_many([Write(f"k{i}", b"1", None) for i in range(3_000)])
        items = driver.items("")
        first, _ = next(items)
        driver.remove_many([key for key in driver.keys("") if key != first])
        assert len(list(items)) < 200  # The rest of what one command had read.

    def test_clearing_while_listing(self, driver: RedisDriver) -> None:
        driver.set_many([Write(f"k{i}", b"1", None) for i in range(5_000)])
        for key in driver.keys(""):
            driver.remove(key)
        assert driver.count("") == 0


class TestOtherTypes:
    """A key of ours that something else has made a list of."""

    @pytest.fixture(autouse=True)
    def _list(self, server: ValkeyServer, driver: RedisDriver) -> None:
        server.client.rpush(driver.prefix + "k", "secret")

    def test_reading_says_so(self, driver: RedisDriver) -> None:
        for read in (driver.get, driver.get_item):
            with pytest.raises(DecodeError, match="'k'") as caught:
                read("k")
            assert "secret" not in str(caught.value)
        assert driver.contains("k")

    def test_writing(self, driver: RedisDriver) -> None:
        assert not driver.create("k", b"1", None)
        assert not driver.create("k", b"1", NEVER)
        assert not driver.replace("k", b"secret", b"1", None)
        assert not driver.remove_if("k", b"secret")
        assert driver.incr("k", 1, None) is None
        assert driver.incr("k", 1, MINUTE) is None
        driver.set("k", b"1", None, keep=True)
        assert driver.get("k") == b"1"

    def test_set_many_and_remove(self, server: ValkeyServer, driver: RedisDriver) -> None:
        driver.set_many([Write("k", b"1", MINUTE)], keep=True)
        assert driver.get("k") == b"1"
        server.client.delete(driver.prefix + "k")
        server.client.rpush(driver.prefix + "k", "secret")
        assert driver.remove("k")


class TestTheAliassOwnSettings:
    def test_do_not_touch_an_entry(self, server: ValkeyServer, make_driver: MakeDriver) -> None:
        driver = make_driver(
            server.url + "?decode_responses=true&retry_on_timeout=true&encoding=latin-1",
            TIMEOUT=1,
            VERSION=3,
            OPTIONS={
                "IGNORE_EXCEPTIONS": True,
                "SERIALIZER": "django_redis.serializers.pickle.PickleSerializer",
                "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                "CONNECTION_POOL_KWARGS": {
                    "decode_responses": True,
                    "encoding": "utf-16",
                    "protocol": 3,
                    "retry": Retry(NoBackoff(), 3),
                    "retry_on_timeout": True,
                    "retry_on_error": [redis.ConnectionError],
                },
            },
        )
        driver.set("Zoë", b'"\xc3\xab"', None)
        assert server.client.get(":persist:Zoë") == b'"\xc3\xab"'
        assert driver.get("Zoë") == b'"\xc3\xab"'
        assert driver.get_item("Zoë") == (b'"\xc3\xab"', None)
        assert list(driver.keys("Z")) == ["Zoë"]
        connection = driver.servers.primaries()[0].pool.get_connection()
        assert connection.retry.get_retries() == 0
        assert connection.protocol == 2

    def test_protocol_3_in_the_url(self, server: ValkeyServer, make_driver: MakeDriver) -> None:
        driver = make_driver(server.url + "?protocol=3")
        driver.set("k", b"1", None)
        assert driver.get("k") == b"1"
        assert driver.servers.primaries()[0].pool.get_connection().protocol == 2

    def test_are_not_changed_by_us(
        self, server: ValkeyServer, make_driver: MakeDriver, settings: Any
    ) -> None:
        url = server.url + "?health_check_interval=7"
        options = {"CONNECTION_POOL_KWARGS": {"retry_on_timeout": True, "decode_responses": True}}
        driver = make_driver(url, OPTIONS=options)
        driver.set("k", b"1", None)
        cache: Any = caches["persist"]
        theirs = cache.client.get_client().connection_pool
        ours = driver.servers.primaries()[0].pool
        assert ours is not theirs
        assert ours.connection_kwargs["health_check_interval"] == 7
        assert theirs.connection_kwargs["decode_responses"] is True
        assert theirs.connection_kwargs["retry_on_timeout"] is True
        assert options == settings.CACHES["persist"]["OPTIONS"]
        assert options["CONNECTION_POOL_KWARGS"].keys() == {"retry_on_timeout", "decode_responses"}

    def test_a_pool_that_waits_is_kept(self, server: ValkeyServer, make_driver: MakeDriver) -> None:
        driver = make_driver(
            server.url,
            OPTIONS={
                "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
                "CONNECTION_POOL_KWARGS": {"max_connections": 1, "timeout": 20},
            },
        )
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: driver.incr("k", 1, None), range(200)))
        assert driver.get("k") == b"200"


RETRYING: dict[str, Any] = {
    "IGNORE_EXCEPTIONS": True,
    "CONNECTION_POOL_KWARGS": {
        "retry": Retry(NoBackoff(), 5),
        "retry_on_timeout": True,
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError],
    },
}


class TestLostReplies:
    @pytest.mark.parametrize("options", [{}, RETRYING], ids=["plain", "retrying"])
    @pytest.mark.parametrize("expires", [None, MINUTE], ids=["command", "script"])
    def test_a_write_is_sent_once_and_told(
        self,
        server: ValkeyServer,
        proxy: Proxy,
        make_driver: MakeDriver,
        options: Any,
        expires: Any,
    ) -> None:
        driver = make_driver(proxy.url, OPTIONS=options)
        driver.incr("k", 1, expires)
        proxy.cutting = True
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, expires)
        proxy.cutting = False
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, redis.RedisError)
        assert driver.get("k") == b"2"
        assert len(proxy.requests) == 1

    def test_create(self, server: ValkeyServer, proxy: Proxy, make_driver: MakeDriver) -> None:
        driver = make_driver(proxy.url)
        driver.get("k")
        proxy.cutting = True
        with pytest.raises(StoreUnavailableError) as caught:
            driver.create("k", b'"secret"', None)
        proxy.cutting = False
        assert caught.value.maybe_applied
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert driver.get("k") == b'"secret"'
        assert len(proxy.requests) == 1

    def test_a_read_changed_nothing(self, proxy: Proxy, make_driver: MakeDriver) -> None:
        driver = make_driver(proxy.url)
        driver.get("k")
        proxy.cutting = True
        for read in (driver.get, driver.get_item, driver.contains, lambda key: driver.count("")):
            with pytest.raises(StoreUnavailableError) as caught:
                read("k")
            assert not caught.value.maybe_applied
            proxy.cutting = False
            driver.get("k")
            proxy.cutting = True

    def test_many(self, server: ValkeyServer, proxy: Proxy, make_driver: MakeDriver) -> None:
        driver = make_driver(proxy.url)
        driver.set_many([Write(f"k{i}", b"1", None) for i in range(2_000)])
        proxy.cutting = True
        with pytest.raises(StoreUnavailableError) as caught:
            driver.remove_many([f"k{i}" for i in range(2_000)])
        proxy.cutting = False
        assert caught.value.maybe_applied

    def test_a_timeout(self, own_server: Callable[..., ValkeyServer], make_driver: Any) -> None:
        server = own_server()
        driver = make_driver(server.url, OPTIONS={**RETRYING, "SOCKET_TIMEOUT": 0.2})
        driver.incr("k", 1, None)
        server.client.client_pause(400)
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, None)
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, redis.TimeoutError)
        server.run("CLIENT UNPAUSE")
        # The server drops what a client that has gone away had sent, or runs it: never twice.
        assert driver.get("k") in (b"1", b"2")

    def test_an_interrupt_leaves_no_reply_behind(
        self,
        own_server: Callable[..., ValkeyServer],
        make_driver: MakeDriver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server = own_server()
        driver = make_driver(server.url)
        driver.set("mine", b"1", None)
        driver.set("other", b"2", None)

        def interrupted(*args: Any) -> Any:
            raise KeyboardInterrupt

        server.client.client_pause(200)  # The reply is still to come when the next call is made.
        with monkeypatch.context() as patch:
            patch.setattr(redis_servers, "_read", interrupted)
            with pytest.raises(KeyboardInterrupt):
                driver.get("mine")
        assert driver.get("other") == b"2"


class TestUnavailable:
    @pytest.mark.parametrize("options", [{}, RETRYING], ids=["plain", "retrying"])
    def test_refused(self, make_driver: MakeDriver, options: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        driver = make_driver(f"redis://:hush@127.0.0.1:{port}/0", OPTIONS=options)
        for call in each(
            lambda: driver.create("k", b'"secret"', None),
            lambda: driver.get("k"),
            lambda: driver.set_many([Write("k", b'"secret"', None)]),
            lambda: list(driver.keys("")),
        ):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, redis.ConnectionError)
            assert str(port) in str(caught.value)
            assert "secret" not in str(caught.value)
            assert "hush" not in str(caught.value)

    def test_the_process_goes_on_after_a_restart(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server("--appendonly", "yes", "--appendfsync", "always")
        driver = make_driver(server.url)
        barrier = threading.Barrier(8)

        def incr(_: int) -> None:
            barrier.wait()
            driver.incr("k", 1, MINUTE)

        with ThreadPoolExecutor(8) as threads:  # So that several connections go stale.
            list(threads.map(incr, range(8)))
        server.stop()
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, MINUTE)
        assert not caught.value.maybe_applied
        server.start()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(incr, range(8)))
        assert driver.get("k") == b"16"

    def test_scripts_that_the_server_lost(self, server: ValkeyServer, driver: RedisDriver) -> None:
        for _ in range(2):
            server.run("SCRIPT FLUSH")
            driver.set_many([Write("k", b"1", MINUTE)])
            server.run("SCRIPT FLUSH")
            assert driver.replace("k", b"1", b"2", None)
            server.run("SCRIPT FLUSH")
            assert driver.incr("k", 1, MINUTE) == 3
        driver.set_many([Write(f"k{i}", b"1", None) for i in range(500)])
        server.run("SCRIPT FLUSH")
        assert len(list(driver.items(""))) == 501  # Many scripts in one batch.

    def test_out_of_memory(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server("--maxmemory-policy", "noeviction")
        driver = make_driver(server.url)
        driver.set("k", b"1", None)
        server.client.config_set("maxmemory", 1)
        for call in each(
            lambda: driver.create("new", b'"secret"', None),
            lambda: driver.create("new", b'"secret"', NEVER),
            lambda: driver.set("k", b'"secret"', None),
            lambda: driver.incr("new", 1, MINUTE),
            lambda: driver.replace("k", b"1", b'"secret"', None),
            lambda: driver.set_many([Write(f"n{i}", b'"secret"', None) for i in range(5)]),
        ):
            with pytest.raises(StoreUnavailableError, match="memory") as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, redis.OutOfMemoryError)
            assert "secret" not in str(caught.value)
        assert [(key, item.value) for key, item in driver.items("")] == [("k", b"1")]
        assert driver.remove("k")
        server.client.config_set("maxmemory", 0)
        driver.set("k", b"1", None)

    def test_memory_that_runs_out_within_set_many(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        server = own_server("--maxmemory-policy", "noeviction")
        driver = make_driver(server.url)
        room = server.client.info("memory")["used_memory"] + 2_000_000
        server.client.config_set("maxmemory", room)
        writes = [Write(f"k{i}", b"x" * 10_000, None) for i in range(1_000)]
        try:
            driver.set_many(writes)
        except StoreUnavailableError:
            assert driver.count("") == 0
        else:
            assert driver.count("") == 1_000

    def test_a_replica_refuses(
        self, server: ValkeyServer, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        replica = own_server()
        driver = make_driver(replica.url)
        driver.set("k", b"1", None)
        replica.run("REPLICAOF", "127.0.0.1", server.port)
        for call in each(lambda: driver.set("k", b"2", None), lambda: driver.set("k", b"2", NEVER)):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert not caught.value.maybe_applied
            assert isinstance(caught.value.__cause__, redis.ReadOnlyError)
        replica.run("REPLICAOF", "NO", "ONE")
        driver.set("k", b"3", None)
        assert driver.get("k") == b"3"

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

    def test_a_part_of_many_was_done(
        self, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_persist.drivers.redis.PAGE", 1)
        for lines, done in (((":1", "-BUSY Now."), True), (("-BUSY Now.", "-BUSY Now."), False)):
            with Refusing(*lines) as port:
                driver = make_driver(f"redis://127.0.0.1:{port}")
                with pytest.raises(StoreUnavailableError) as caught:
                    driver.remove_many(["a", "b"])
                assert caught.value.maybe_applied is done

    def test_a_part_of_many_scripts_was_done(self, make_driver: MakeDriver) -> None:
        with Refusing(":1", "-NOSCRIPT Send it.", "-LOADING Now.") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            command = scripts.run(scripts.REMOVE_IF, [b"k"], b"1")
            with pytest.raises(StoreUnavailableError) as caught:
                driver.servers.batch([(b"k", command)] * 2, True)
            assert caught.value.maybe_applied

    def test_other_errors_stay_what_they_are(self, make_driver: MakeDriver) -> None:
        with Refusing("-NOPERM No permission.") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            with pytest.raises(redis.ResponseError, match="No permission"):
                driver.get("k")

    def test_a_node_of_a_cluster(self, make_driver: MakeDriver) -> None:
        with Refusing("-MOVED 1 127.0.0.1:1") as port:
            driver = make_driver(f"redis://127.0.0.1:{port}")
            with pytest.raises(InvalidStoreError, match="ClusterConnectionFactory"):
                driver.get("k")

    def test_an_unknown_command_does_not_tell_the_value(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        driver = make_driver(own_server("--rename-command", "SET", "").url)
        with pytest.raises(redis.ResponseError, match="unknown command") as caught:
            driver.set("k", b"secret", None)
        told = caught.value
        assert "secret" not in f"{told} {told.__cause__}"
        assert told.__suppress_context__ or "secret" not in str(told.__context__)

    def test_a_server_that_is_too_old(
        self, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
    ) -> None:
        driver = make_driver(own_server("--rename-command", "PEXPIRETIME", "").url)
        with pytest.raises(NotSupportedError, match="Redis 7"):
            driver.get_item("k")


class Refusing:
    """A server that answers every command but CLIENT with the lines, in turn."""

    def __init__(self, *lines: str) -> None:
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
                    for command in (b"\r\n" + data).split(b"\r\n*")[1:]:
                        line.sendall(b"+OK\r\n" if b"CLIENT" in command else next(self.lines))


class TestAtOnce:
    def test_threads(self, driver: RedisDriver) -> None:
        with ThreadPoolExecutor(8) as threads:
            created = list(threads.map(lambda i: driver.create("c", b"%d" % i, MINUTE), range(200)))
            sums = list(threads.map(lambda _: driver.incr("i", 1, MINUTE), range(800)))
        assert created.count(True) == 1
        assert sorted(s for s in sums if s is not None) == list(range(1, 801))

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_fork_shares_no_connection(self, server: ValkeyServer, driver: RedisDriver) -> None:
        driver.set("k", b"parent", None)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ok = all(driver.get("k") == b"parent" for _ in range(200))
                driver.set("child", b"1", None)
                status = 0 if ok else 2
            finally:
                os._exit(status)
        assert all(driver.get("k") == b"parent" for _ in range(200))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert driver.get("child") == b"1"


class TestSettings:
    def test_no_server_is_needed(self, make_driver: MakeDriver) -> None:
        driver = make_driver("redis://:hush@no.such.host.invalid:1/3")
        assert driver.check() == []
        assert driver.place().prefix == ":persist:"
        assert "hush" not in repr(driver.place())
        assert hash(driver.place()) == hash(driver.place())

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("redis://localhost/1", "redis://127.0.0.1:6379?db=1", True),
            ("redis://a:hush@Example.com/1", "redis://example.com:6379/1", True),
            ("redis://localhost", "redis://localhost/0", True),
            ("redis://localhost/1", "redis://localhost/2", False),
            ("redis://localhost:1", "redis://localhost:2", False),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1", True),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock", False),
            ("redis://one,redis://replica1", "redis://one,redis://replica2", True),
        ],
    )
    def test_place(self, make_driver: MakeDriver, one: str, other: str, same: bool) -> None:
        assert (make_driver(one).place() == make_driver(other).place()) is same

    def test_place_behind_sentinel(self, make_driver: MakeDriver) -> None:
        def home(service: str, *ports: int) -> Any:
            return make_driver(f"redis://{service}/0", OPTIONS=sentinel(*ports)).place().home

        assert home("one", 1, 2) == home("one", 2, 1)
        assert home("one", 1, 2) != home("two", 1, 2)
        assert home("one", 1, 2) != home("one", 3)

    @pytest.mark.parametrize(
        ("other", "warned"),
        [
            ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1/4"}, True),
            ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1/5"}, False),
            (
                {
                    "BACKEND": "django.core.cache.backends.redis.RedisCache",
                    "LOCATION": ["redis://localhost/4", "redis://replica/4"],
                },
                True,
            ),
            (
                {
                    "BACKEND": "django.core.cache.backends.redis.RedisCache",
                    "LOCATION": "redis://localhost",
                    "OPTIONS": {"db": "4"},
                },
                True,
            ),
            (
                {
                    "BACKEND": "django.core.cache.backends.redis.RedisCache",
                    "LOCATION": "redis://localhost/1",
                },
                False,
            ),
            (
                {
                    "BACKEND": DJANGO_REDIS,
                    "LOCATION": ["redis://x", "redis://localhost/4"],
                    "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
                },
                True,
            ),
            ({"BACKEND": "django.core.cache.backends.dummy.DummyCache"}, False),
            ({"BACKEND": "no.such.Cache"}, False),
            ({"BACKEND": DJANGO_REDIS, "LOCATION": ""}, False),
        ],
    )
    def test_another_alias_whose_clear_would_take_ours(
        self, make_driver: MakeDriver, settings: Any, other: Any, warned: bool
    ) -> None:
        driver = make_driver("redis://localhost/4")
        settings.CACHES = {**settings.CACHES, "pages": other}
        warnings = driver.check()
        assert [warning.id for warning in warnings] == ["django_persist.W003"] * warned
        assert all("'pages'" in warning.msg for warning in warnings)

    def test_unknown_alias(self) -> None:
        with pytest.raises(InvalidStoreError) as caught:
            RedisDriver(cache="nowhere")
        assert caught.value.id == "django_persist.E010"

    @pytest.mark.parametrize(
        ("alias", "said"),
        [
            ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, "not a django-redis"),
            ({"BACKEND": "django.core.cache.backends.redis.RedisCache"}, "not a django-redis"),
            ({"OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"}}, "ShardClient"),
            ({"OPTIONS": {"CLIENT_CLASS": "collections.OrderedDict"}}, "OrderedDict"),
            ({"LOCATION": ""}, "can't be used"),
            ({"LOCATION": "http://localhost"}, "can't be used"),
            ({"OPTIONS": {"SOCKET_TIMEOUT": "soon"}}, "can't be used"),
            ({"OPTIONS": {"SERIALIZER": "no.such.Serializer"}}, "can't be used"),
        ],
    )
    def test_an_unfit_cache(self, make_driver: MakeDriver, alias: Any, said: str) -> None:
        with pytest.raises(InvalidStoreError, match=said) as caught:
            make_driver(**{"location": "redis://localhost", **alias})
        assert caught.value.id == "django_persist.E011"
        assert caught.value.hint

    def test_without_django_redis(self) -> None:
        code = (
            "import sys; sys.modules['django_redis'] = None\n"
            "try: import django_persist.drivers.redis\n"
            "except ImportError as error: print(error)"
        )
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert b"django-persist[redis]" in told.stdout


def sentinel(*ports: int) -> dict[str, Any]:
    return {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": [("127.0.0.1", port) for port in ports],
    }
