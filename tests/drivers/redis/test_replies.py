"""The settings of the alias touch no entry, and nothing is sent twice after a lost reply."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_persist.drivers.redis import node
from django_persist.exceptions import (
    StoreUnavailableError,
)
from tests.drivers.redis.conftest import (
    RETRYING,
    MakeDriver,
    retry_on_timeout,
)
from tests.servers.valkey_servers import ValkeyServer


class TestSettingsOfTheAlias:
    def test_they_do_not_touch_an_entry(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
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

    def test_the_driver_does_not_change_them(
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

    def test_a_blocking_pool_still_blocks(
        self, server: ValkeyServer, make_driver: MakeDriver
    ) -> None:
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


class TestLostReplies:
    def test_a_timeout(self, own_server: Callable[..., ValkeyServer], make_driver: Any) -> None:
        server = own_server()
        driver = make_driver(server.url, OPTIONS={**RETRYING, "SOCKET_TIMEOUT": 0.2})
        retry_on_timeout(lambda: driver.set("k", b"1", None))
        server.client.client_pause(400)
        with pytest.raises(StoreUnavailableError) as caught:
            driver.incr("k", 1, None)
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, redis.TimeoutError)
        server.run("CLIENT UNPAUSE")
        # The server may run the command of a client that has gone away, but not twice.
        assert retry_on_timeout(lambda: driver.get("k")) in (b"1", b"2")

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

        server.client.client_pause(200)  # So the reply is still to come when the next call is made.
        with monkeypatch.context() as patch:
            patch.setattr(node, "_read_replies", interrupted)
            with pytest.raises(KeyboardInterrupt):
                driver.get("mine")
        assert driver.get("other") == b"2"
