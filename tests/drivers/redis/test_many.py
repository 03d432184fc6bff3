"""RedisDriver on a single server: many keys, listings, keys of other Redis types, threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    DecodeError,
)
from tests.drivers.redis.conftest import (
    MINUTE,
    NEVER,
    count_command,
)
from tests.servers.valkey_servers import ValkeyServer


class TestMany:
    def test_ten_thousand(self, server: ValkeyServer, driver: RedisDriver) -> None:
        entries = {f"k{i}": b"%d" % i for i in range(10_000)}
        reads, removals = count_command(server, "mget"), count_command(server, "unlink")
        driver.set_many([(key, value, MINUTE) for key, value in entries.items()])
        assert dict(driver.get_many([*entries, "absent"])) == entries
        assert set(driver.keys("")) == set(entries)
        assert {key: item.value for key, item in driver.items("")} == entries
        assert driver.count("k99") == 111
        assert driver.remove_many([*entries, "absent"]) == 10_000
        assert driver.count("") == 0
        assert count_command(server, "mget") - reads == 11
        assert count_command(server, "unlink") - removals == 11

    def test_a_hundred_thousand_in_one_script(self, driver: RedisDriver) -> None:
        driver.set_many([(f"k{i}", b"1", None) for i in range(100_000)])
        assert driver.remove_many([f"k{i}" for i in range(100_000)]) == 100_000

    def test_no_keys(self, driver: RedisDriver) -> None:
        driver.set_many([])
        assert dict(driver.get_many([])) == {}
        assert driver.remove_many([]) == 0

    @pytest.mark.parametrize("special", [*"*?[]\\^-{}", "[ab]", "\\*", "[^a]", "Zoë*"])
    def test_a_prefix_is_not_a_pattern(self, driver: RedisDriver, special: str) -> None:
        wanted = {f"p{special}", f"p{special}1", f"p{special}{special}"}
        others = {"p", "pa1", "pab", "p1", "q*", "px" + special, "P" + special}
        driver.set_many([(key, b"1", None) for key in wanted | others])
        assert set(driver.keys(f"p{special}")) == wanted
        assert {key for key, _ in driver.items(f"p{special}")} == wanted
        assert driver.count(f"p{special}") == 3

    def test_only_entries_are_listed(self, server: ValkeyServer, driver: RedisDriver) -> None:
        client, prefix = server.client, driver.prefix.encode()
        driver.set("k", b"1", None)
        client.set(b"other", b"1")
        client.set(b"x" + prefix + b"k", b"1")
        client.set(prefix + b"\xff", b"1")
        client.rpush(prefix + b"list", b"1")
        assert list(driver.keys("")) == ["k"]
        assert [key for key, _ in driver.items("")] == ["k"]

    def test_items_skips_entries_removed_meanwhile(self, driver: RedisDriver) -> None:
        driver.set_many([(f"k{i}", b"1", None) for i in range(3_000)])
        items = driver.items("")
        first, _ = next(items)
        driver.remove_many([key for key in driver.keys("") if key != first])
        assert len(list(items)) < 200  # The rest of what the last command read.

    def test_clearing_while_listing(self, driver: RedisDriver) -> None:
        driver.set_many([(f"k{i}", b"1", None) for i in range(5_000)])
        for key in driver.keys(""):
            driver.remove(key)
        assert driver.count("") == 0


class TestOtherTypes:
    """Something else has stored a list under the key of an entry."""

    @pytest.fixture(autouse=True)
    def _list(self, server: ValkeyServer, driver: RedisDriver) -> None:
        server.client.rpush(driver.prefix + "k", "secret")

    def test_reads_raise(self, driver: RedisDriver) -> None:
        for read in (driver.get, driver.get_item):
            with pytest.raises(DecodeError, match="'k'") as caught:
                read("k")
            assert "secret" not in str(caught.value)
        assert driver.contains("k")

    def test_writes(self, driver: RedisDriver) -> None:
        assert not driver.create("k", b"1", None)
        assert not driver.create("k", b"1", NEVER)
        assert not driver.replace("k", b"secret", b"1", None)
        assert not driver.remove_if("k", b"secret")
        assert driver.incr("k", 1, None) is None
        assert driver.incr("k", 1, MINUTE) is None
        driver.set("k", b"1", None, keep=True)
        assert driver.get("k") == b"1"

    def test_set_many_and_remove(self, server: ValkeyServer, driver: RedisDriver) -> None:
        driver.set_many([("k", b"1", MINUTE)], keep=True)
        assert driver.get("k") == b"1"
        server.client.delete(driver.prefix + "k")
        server.client.rpush(driver.prefix + "k", "secret")
        assert driver.remove("k")


class TestThreadsAndForks:
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
