"""The driver on an alias of Django's own RedisCache keeps the same contract."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_persist.contract import DriverContract
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import InvalidStoreError
from tests.drivers.redis.conftest import DJANGO, DJANGO_REDIS
from tests.drivers.redis.conftest import MakeDriver as MakeDriver
from tests.servers.valkey_servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.server("Django's RedisCache")


@pytest.fixture
def make_driver(make_driver: MakeDriver) -> MakeDriver:
    """Return a function that makes a driver, given the LOCATION and more of its alias in CACHES."""

    def make(location: Any, **alias: Any) -> RedisDriver:
        return make_driver(location, **{"BACKEND": DJANGO, **alias})

    return make


class TestContract(DriverContract):
    """Runs on this folder's fixture `driver`."""


def number_of_keys(server: ValkeyServer, db: int) -> int:
    client: Any = redis.Redis(port=server.port, db=db)
    return int(client.dbsize())


class TestServers:
    @pytest.mark.parametrize(
        ("path", "options"),
        [
            ("/3", {}),
            ("?db=3", {}),
            ("", {"db": 3}),
            ("", {"db": "3"}),
            ("/3", {"db": 5}),  # As for Django: the URL wins.
        ],
    )
    def test_the_database_number(
        self, server: ValkeyServer, make_driver: MakeDriver, path: str, options: Any
    ) -> None:
        driver = make_driver(f"redis://127.0.0.1:{server.port}{path}", OPTIONS=options)
        driver.set("k", b"1", None)
        assert number_of_keys(server, 3) == 1
        caches["persist"].set("theirs", 1)
        assert number_of_keys(server, 3) == 2

    @pytest.mark.parametrize("join", [list, tuple, ",".join, ";".join])
    def test_the_first_of_several_is_the_primary(
        self, server: ValkeyServer, make_driver: MakeDriver, join: Any
    ) -> None:
        # A call to one of the others would fail.
        urls = [server.url, "redis://127.0.0.1:1", "redis://127.0.0.1:2"]
        driver = make_driver(join(urls))
        driver.set("k", b"1", None)
        for _ in range(20):
            assert driver.get("k") == b"1"
            assert list(driver.keys("")) == ["k"]

    def test_the_place_is_the_same_through_django_redis(self, make_driver: MakeDriver) -> None:
        def place(backend: str, location: str, **options: Any) -> Any:
            return make_driver(location, BACKEND=backend, OPTIONS=options).place()

        ours = place(DJANGO, "redis://localhost", db=4)
        assert ours == place(DJANGO_REDIS, "redis://127.0.0.1:6379/4")
        assert ours != place(DJANGO_REDIS, "redis://127.0.0.1:6379/5")

    def test_entries_written_through_django_redis_are_there(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
        alias = {"KEY_PREFIX": "site", "VERSION": 7}
        make_driver(server.url, BACKEND=DJANGO_REDIS, **alias).set("k", b"1", None)
        assert list(make_driver(server.url, **alias).keys("")) == ["k"]
        assert server.client.keys() == [b"site:persist:k"]

    def test_a_node_of_a_cluster(
        self, shared_cluster: ValkeyCluster, make_driver: MakeDriver
    ) -> None:
        driver = make_driver(shared_cluster.urls[0])
        with pytest.raises(InvalidStoreError, match="node of a Redis Cluster") as caught:
            for number in range(100):  # Some are on another node.
                driver.set(f"k{number}", b"1", None)
        assert DJANGO_REDIS in str(caught.value.hint)

    def test_credentials_among_the_options(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
        server.run("ACL", "SETUSER", "web", "reset", "on", ">hush", "~*", "+@all")
        url = f"redis://127.0.0.1:{server.port}"
        driver = make_driver(url, OPTIONS={"username": "web", "password": "hush"})
        driver.set("k", b"1", None)
        assert driver.get("k") == b"1"
        server.run("ACL", "DELUSER", "web")


class TestSettingsOfTheAlias:
    def test_they_do_not_touch_an_entry(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
        driver = make_driver(
            server.url + "?decode_responses=true&retry_on_timeout=true&encoding=latin-1",
            TIMEOUT=1,
            OPTIONS={
                "serializer": "django.core.cache.backends.redis.RedisSerializer",
                "parser_class": "redis.connection._RESP2Parser",
                "decode_responses": True,
                "encoding": "utf-16",
                "protocol": 3,
                "retry": Retry(NoBackoff(), 3),
                "retry_on_timeout": True,
                "retry_on_error": [redis.ConnectionError],
            },
        )
        driver.set("Zoë", b'"\xc3\xab"', None)
        assert server.client.get(":persist:Zoë") == b'"\xc3\xab"'
        assert driver.get("Zoë") == b'"\xc3\xab"'
        assert driver.get_item("Zoë") == (b'"\xc3\xab"', None)
        connection = driver.servers.primaries()[0].pool.get_connection()
        assert connection.retry.get_retries() == 0
        assert connection.protocol == 2
        assert type(connection._parser).__name__ == "_RESP2Parser"

    def test_the_driver_does_not_change_them(
        self, server: ValkeyServer, make_driver: MakeDriver, settings: Any
    ) -> None:
        url = server.url + "?health_check_interval=7"
        options = {"retry_on_timeout": True, "decode_responses": True}
        driver = make_driver(url, OPTIONS=options)
        driver.set("k", b"1", None)
        cache: Any = caches["persist"]
        theirs = cache._cache.get_client(write=True).connection_pool
        ours = driver.servers.primaries()[0].pool
        assert ours is not theirs
        assert ours.connection_kwargs["health_check_interval"] == 7
        assert theirs.connection_kwargs["decode_responses"] is True
        assert theirs.connection_kwargs["retry_on_timeout"] is True
        assert options == settings.CACHES["persist"]["OPTIONS"]
        assert options.keys() == {"retry_on_timeout", "decode_responses"}

    @pytest.mark.parametrize(
        ("alias", "message"),
        [
            ({"LOCATION": ""}, "can't be used"),
            ({"LOCATION": []}, "empty LOCATION"),
            ({"LOCATION": "http://localhost"}, "can't be used"),
            ({"OPTIONS": {"pool_class": "no.such.Pool"}}, "can't be used: .*'no'"),
            ({"OPTIONS": {"serializer": "no.such.Serializer"}}, "can't be used: .*'no'"),
            ({"OPTIONS": {"SOCKET_TIMEOUT": 1}}, "can't be used: .*'SOCKET_TIMEOUT'"),
            ({"BACKEND": f"{__name__}.ShardedCache"}, "has the client ShardedClient"),
        ],
    )
    def test_an_unusable_cache(self, make_driver: MakeDriver, alias: Any, message: str) -> None:
        with pytest.raises(InvalidStoreError, match=message) as caught:
            make_driver(**{"location": "redis://localhost", **alias})
        assert caught.value.id == "django_persist.E011"
        assert caught.value.hint

    def test_a_subclass(self, server: ValkeyServer, make_driver: MakeDriver) -> None:
        driver = make_driver(server.url, BACKEND=f"{__name__}.PrefixedCache")
        driver.set("k", b"1", None)
        assert server.client.keys() == [b"theirs:persist:k"]

    @pytest.mark.parametrize(("port", "is_warned"), [(6379, True), (6380, True), (6381, False)])
    def test_another_alias_with_a_client_of_its_own(
        self, make_driver: MakeDriver, settings: Any, port: int, is_warned: bool
    ) -> None:
        """Its clear() may empty every server that it names."""
        other = ["redis://shards:6379", "redis://shards:6380"]
        driver = make_driver(f"redis://shards:{port}")
        pages = {"BACKEND": f"{__name__}.ShardedCache", "LOCATION": other}
        settings.CACHES = {**settings.CACHES, "pages": pages}
        assert [w.id for w in driver.check()] == ["django_persist.W003"] * is_warned


class ShardedClient(RedisCacheClient):
    """Takes the server of a key by its length."""

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        urls = vars(self)["_servers"]
        return redis.Redis.from_url(urls[len(key or "") % len(urls)])


class ShardedCache(RedisCache):
    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = ShardedClient


class PrefixedCache(RedisCache):
    def make_key(self, key: Any, version: Any = None) -> str:
        return f"theirs:{version}:{key}"


WITHOUT_DJANGO_REDIS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "django_redis":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())

import django
from django.conf import settings
from django.core import checks

DRIVER = "django_persist.drivers.redis.RedisDriver"
DJANGO = "django.core.cache.backends.redis.RedisCache"
settings.configure(
    INSTALLED_APPS=["django_persist"],
    MIDDLEWARE=["django_persist.middleware.PersistMiddleware"],
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "persist": {"BACKEND": DJANGO, "LOCATION": sys.argv[1], "KEY_PREFIX": "without"},
        "theirs": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1]},
    },
    PERSIST={"default": {"BACKEND": DRIVER, "OPTIONS": {"cache": "persist"}}},
)
django.setup()

from django_persist import persist, stores

def messages():
    # Django's own check of CACHES fails for a backend that can't be imported.
    return checks.run_checks(tags=["django_persist"])

assert messages() == [], messages()
persist.set_many({"a": [1], "b": "two"}, expires=60)
assert persist.get_many(["a", "b", "c"]) == {"a": [1], "b": "two"}
assert persist.incr("n") == 1
assert sorted(persist.keys()) == ["a", "b", "n"]
assert persist.clear() == 3
assert "django_redis" not in sys.modules

settings.PERSIST["default"]["OPTIONS"]["cache"] = "theirs"
(message,) = messages()
print(message.id, message.msg, message.hint)
"""


def test_without_django_redis(server: ValkeyServer) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_DJANGO_REDIS, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("django_persist.E010", "CACHES['theirs'] can't be used", "django-persist[redis]"):
        assert part in done.stdout
