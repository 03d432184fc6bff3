"""Aliases of CACHES that RedisDriver accepts, rejects and warns about."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import (
    InvalidStoreError,
)
from tests.drivers.redis.conftest import (
    DJANGO,
    DJANGO_REDIS,
    MakeDriver,
)


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
        def location(service: str, *ports: int) -> Any:
            return make_driver(f"redis://{service}/0", OPTIONS=sentinel(*ports)).place().location

        assert location("one", 1, 2) == location("one", 2, 1)
        assert location("one", 1, 2) != location("two", 1, 2)
        assert location("one", 1, 2) != location("one", 3)

    @pytest.mark.parametrize(
        ("other", "is_warned"),
        [
            ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1/4"}, True),
            ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1/5"}, False),
            (
                {
                    "BACKEND": DJANGO,
                    "LOCATION": ["redis://localhost/4", "redis://replica/4"],
                },
                True,
            ),
            (
                {
                    "BACKEND": DJANGO,
                    "LOCATION": "redis://localhost",
                    "OPTIONS": {"db": "4"},
                },
                True,
            ),
            ({"BACKEND": DJANGO, "LOCATION": "redis://localhost/1"}, False),
            ({"BACKEND": DJANGO, "LOCATION": ""}, False),
            ({"BACKEND": DJANGO, "LOCATION": "redis://x,redis://localhost/4"}, False),
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
    def test_another_alias_whose_clear_would_delete_our_entries(
        self, make_driver: MakeDriver, settings: Any, other: Any, is_warned: bool
    ) -> None:
        driver = make_driver("redis://localhost/4")
        settings.CACHES = {**settings.CACHES, "pages": other}
        warnings = driver.check()
        assert [warning.id for warning in warnings] == ["django_persist.W003"] * is_warned
        assert all("'pages'" in warning.msg for warning in warnings)

    def test_unknown_alias(self) -> None:
        with pytest.raises(InvalidStoreError) as caught:
            RedisDriver(cache="nowhere")
        assert caught.value.id == "django_persist.E010"

    @pytest.mark.parametrize(
        ("alias", "message"),
        [
            ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, "neither Django's"),
            ({"OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"}}, "ShardClient"),
            ({"OPTIONS": {"CLIENT_CLASS": "collections.OrderedDict"}}, "OrderedDict"),
            ({"LOCATION": ""}, "can't be used"),
            ({"LOCATION": "http://localhost"}, "can't be used"),
            ({"OPTIONS": {"SOCKET_TIMEOUT": "soon"}}, "can't be used"),
            ({"OPTIONS": {"SERIALIZER": "no.such.Serializer"}}, "can't be used"),
            ({"OPTIONS": {"CONNECTION_POOL_KWARGS": {"tiemout": 1}}}, "can't be used: .*'tiemout'"),
        ],
    )
    def test_an_unusable_cache(self, make_driver: MakeDriver, alias: Any, message: str) -> None:
        with pytest.raises(InvalidStoreError, match=message) as caught:
            make_driver(**{"location": "redis://localhost", **alias})
        assert caught.value.id == "django_persist.E011"
        assert caught.value.hint

    def test_without_redis_py(self) -> None:
        code = (
            "import sys; sys.modules['redis'] = None\n"
            "try: import django_persist.drivers.redis\n"
            "except ImportError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert b"django-persist[redis]" in done.stdout


def sentinel(*ports: int) -> dict[str, Any]:
    return {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": [("127.0.0.1", port) for port in ports],
    }
