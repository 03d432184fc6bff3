"""Settings of Redis, each on its own Valkey server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django.test import override_settings

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from tests.servers.valkey_servers import start, start_cluster

from .compare import OneByOne, Tuned, ratios

NODES = 3


def tune(seconds: float) -> None:
    with ExitStack() as stack:
        server = start()
        socket = str(server.folder / "socket")
        logging = {
            "AOF, everysec": start("--appendonly", "yes", "--appendfsync", "everysec"),
            "AOF, always": start("--appendonly", "yes", "--appendfsync", "always"),
        }
        listening = start("--unixsocket", socket)
        cluster = start_cluster(NODES)
        stack.callback(cluster.stop)
        for each in (server, listening, *logging.values()):
            stack.callback(each.stop)
        factory = "django_persist.cluster.ClusterConnectionFactory"
        caches: dict[str, dict[str, Any]] = {
            "default settings, hiredis": _cache(server.url),
            "redis-py's own parser": _cache(
                server.url, PARSER_CLASS="redis._parsers.resp2._RESP2Parser"
            ),
            "a Unix socket": _cache(f"unix://{socket}?db=0"),
            **{name: _cache(logged.url) for name, logged in logging.items()},
            f"a cluster of {NODES}": _cache(cluster.urls, CONNECTION_FACTORY=factory),
        }
        stack.enter_context(
            override_settings(CACHES={"default": caches["a Unix socket"], **caches})
        )
        contenders = [Tuned(name, Store(RedisDriver(name))) for name in caches]
        ratios("Valkey", contenders, ("get", "set", "incr", "get_many", "set_many"), seconds)
        ratios("Valkey", contenders, ("get", "set"), seconds, threads=8)
        loop = OneByOne("200 calls in a loop", contenders[0].store)
        ratios("Valkey", [contenders[0], loop], ("get_many", "set_many"), seconds)


def _cache(location: str | list[str], **options: str) -> dict[str, Any]:
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": location,
        "OPTIONS": options,
    }
