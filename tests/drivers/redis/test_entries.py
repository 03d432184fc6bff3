"""RedisDriver on a single server: one key, and its expiry."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    InvalidExpiryError,
    StoreUnavailableError,
)
from tests.drivers.redis.conftest import (
    MINUTE,
    NEVER,
    MakeDriver,
    count_command,
    each,
    expires_at,
    server_now,
)
from tests.servers.valkey_servers import ValkeyServer, wait_for


class TestEntries:
    def test_create_stores_once(self, driver: RedisDriver) -> None:
        assert driver.create("k", b"1", None)
        assert not driver.create("k", b"2", MINUTE)
        assert driver.get("k") == b"1"
        assert expires_at(driver, "k") is None

    @pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", "Zoë".encode(), b"x" * 1_000_000])
    def test_every_byte_reads_back(self, driver: RedisDriver, value: bytes) -> None:
        driver.set("k", value, None)
        assert driver.get("k") == value
        assert dict(driver.get_many(["k"])) == {"k": value}
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

    def test_the_redis_key_has_the_prefix_of_make_key(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
        make_driver(server.url, KEY_PREFIX="site", VERSION=7).set("k", b"1", None)
        assert server.client.keys() == [b"site:persist:k"]

    def test_one_command_each(self, server: ValkeyServer, driver: RedisDriver) -> None:
        client = server.client
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
            call()  # From here on the server has the scripts.
            before = client.info("stats")["total_reads_processed"]
            call()
            # The other one is the INFO that counts.
            assert client.info("stats")["total_reads_processed"] - before == 2
        assert count_command(server, "multi") == 0


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
        actual = expires_at(driver, "k")
        assert actual is not None
        assert abs(actual - server_now(server) - timedelta(days=365_000)) < MINUTE

    def test_a_moment_reads_back_in_utc(self, driver: RedisDriver) -> None:
        moment = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
        writes: list[Callable[[str], Any]] = [
            lambda key: driver.create(key, b"1", moment),
            lambda key: driver.set(key, b"1", moment),
            lambda key: driver.set(key, b"1", moment, keep=True),
            lambda key: driver.incr(key, 1, moment),
            lambda key: driver.set_many([(key, b"1", moment)]),
            lambda key: driver.create(key, b"1", None) and driver.touch(key, moment),
            lambda key: driver.create(key, b"1", None) and driver.replace(key, b"1", b"2", moment),
        ]
        for i, write in enumerate(writes):
            write(f"k{i}")
            actual = expires_at(driver, f"k{i}")
            assert actual == moment, i
            assert actual.tzinfo is UTC

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
                partial(driver.set_many, [("other", b"9", None), (key, b"9", passed)]),
            ):
                with pytest.raises(InvalidExpiryError, match="not in the future"):
                    call()
        assert dict(driver.items("")) == {"old": driver.get_item("old")}
        assert driver.get_item("old") == (b"1", None)

    def test_the_servers_clock_decides(
        self, driver: RedisDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.time", lambda: 1e9)
        monkeypatch.setattr("time.time_ns", lambda: 10**18)
        with pytest.raises(InvalidExpiryError):  # Still to come by the application's clock.
            driver.create("k", b"1", datetime(2010, 1, 1, tzinfo=UTC))
        assert not driver.contains("k")

    def test_an_entry_is_gone_when_it_expires(
        self, server: ValkeyServer, driver: RedisDriver
    ) -> None:
        moment = server_now(server) + timedelta(milliseconds=300)
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
            driver.set("expiring", b"1", soon)
            driver.set("never", b"1", None)
            driver.remove("new")
            driver.set("expiring", b"2", default, keep=True)
            driver.set("never", b"2", default, keep=True)
            driver.set("new", b"2", default, keep=True)
            assert expires_at(driver, "expiring") == soon
            assert expires_at(driver, "never") is None
            assert (expires_at(driver, "new") is None) == (default is None)
            assert driver.replace("expiring", b"2", b"3", default, keep=True)
            assert driver.replace("never", b"2", b"3", default, keep=True)
            assert expires_at(driver, "expiring") == soon
            assert expires_at(driver, "never") is None
            driver.remove("new")
            keys = ["expiring", "never", "new"]
            driver.set_many([(key, b"4", default) for key in keys], keep=True)
            assert dict(driver.get_many(keys)) == dict.fromkeys(keys, b"4")
            assert expires_at(driver, "expiring") == soon
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
    def test_a_unix_socket_works_like_tcp(
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
    def test_expires_applies_only_to_the_call_that_starts_the_counter(
        self, driver: RedisDriver
    ) -> None:
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
    def test_a_text_that_is_no_integer_is_left_unchanged(
        self, driver: RedisDriver, text: bytes, expires: Any
    ) -> None:
        driver.set("k", text, None)
        assert driver.incr("k", 1, expires) is None
        assert driver.get_item("k") == (text, None)
