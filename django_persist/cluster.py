"""A connection factory for Redis Cluster, which django-redis doesn't have.

CACHES = {"persist": {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": ["redis://node1:6379", "redis://node2:6379"],
    "OPTIONS": {"CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory"},
}}
"""

from __future__ import annotations

import os
from threading import Lock
from typing import Any, ClassVar

from django_redis.pool import ConnectionFactory  # type: ignore[import-untyped]
from redis.cluster import RedisCluster


class CacheCluster(RedisCluster):
    """redis-py's client for a cluster, for calls as django-redis makes them.

    django-redis calls mget() for keys of different slots, and keys() for the keys of all nodes.
    RedisCluster refuses the one, and by default sends the other to a single node.
    """

    def mget(self, keys: Any, *args: Any) -> list[Any]:
        """Return the values of the keys, reading slot by slot."""
        found: list[Any] = self.mget_nonatomic(keys, *args)
        return found

    def keys(self, pattern: Any = "*", **kwargs: Any) -> list[Any]:
        """Return the matching keys of all primaries."""
        found: list[Any] = super().keys(pattern, **{"target_nodes": self.PRIMARIES, **kwargs})
        return found


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]
    """Connects a django-redis cache to a Redis Cluster.

    Each URL in LOCATION is a node from which to learn about the others. A cluster has only the
    database 0. The OPTIONS are those of django-redis's own factory: CONNECTION_POOL_KWARGS go to
    the connections to every node, REDIS_CLIENT_KWARGS to `redis.RedisCluster`. Of the latter,
    RedisDriver uses `address_remap`.
    """

    _clusters: ClassVar[dict[tuple[str, str], Any]] = {}
    _connecting: ClassVar[Lock] = Lock()

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__({"REDIS_CLIENT_CLASS": "django_persist.cluster.CacheCluster", **options})

    def get_connection(self, params: dict[str, Any]) -> RedisCluster:
        """Return the client for the cluster, which all threads of the process share.

        The first call makes it, and asks the node in `params` which node has which slots.
        """
        options = {**params, **self.pool_cls_kwargs, **self.redis_client_cls_kwargs}
        key = params["url"], repr(sorted(options.items(), key=lambda item: item[0]))
        with self._connecting:
            if key not in self._clusters:
                self._clusters[key] = self.redis_client_cls(**options)
            cluster: RedisCluster = self._clusters[key]
        return cluster

    def disconnect(self, connection: RedisCluster) -> None:
        """Close the client's connections to every node. It opens new ones when it needs them."""
        connection.disconnect_connection_pools()  # type: ignore[no-untyped-call]

    @classmethod
    def renew(cls) -> None:
        """Start without clients. A thread that held a lock of theirs isn't in a forked child."""
        cls._clusters = {}
        cls._connecting = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ClusterConnectionFactory.renew)
