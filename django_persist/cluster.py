"""Redis Cluster for django-redis, which has no connection factory for it.

CACHES = {"persist": {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": ["redis://node1:6379", "redis://node2:6379"],
    "OPTIONS": {"CONNECTION_FACTORY": "django_persist.cluster.ClusterConnectionFactory"},
}}
"""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar

from django_redis.pool import ConnectionFactory  # type: ignore[import-untyped]
from redis.cluster import RedisCluster


class CacheCluster(RedisCluster):
    """A client for a cluster in which what django-redis calls reaches all the nodes it means."""

    def mget(self, keys: Any, *args: Any) -> list[Any]:
        """Return the keys' values, read slot by slot."""
        found: list[Any] = self.mget_nonatomic(keys, *args)
        return found

    def keys(self, pattern: Any = "*", **kwargs: Any) -> list[Any]:
        """Return the keys that match, of every primary."""
        found: list[Any] = super().keys(pattern, **{"target_nodes": self.PRIMARIES, **kwargs})
        return found


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]
    """Connection factory of django-redis that connects to a Redis Cluster.

    Each URL of LOCATION is a node to learn the cluster from; its database can only be 0. Takes the
    OPTIONS that django-redis's own factory takes: CONNECTION_POOL_KWARGS go to the connections of
    every node, REDIS_CLIENT_KWARGS to `redis.RedisCluster`; RedisDriver heeds its `address_remap`.
    """

    _clusters: ClassVar[dict[tuple[str, str], Any]] = {}
    _connecting: ClassVar[Lock] = Lock()

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__({"REDIS_CLIENT_CLASS": "django_persist.cluster.CacheCluster", **options})

    def get_connection(self, params: dict[str, Any]) -> RedisCluster:
        """Return the process's client for the cluster, made at the first call.

        Making it asks the node for the cluster's slots.
        """
        options = {**params, **self.pool_cls_kwargs, **self.redis_client_cls_kwargs}
        key = params["url"], repr(sorted(options.items(), key=lambda item: item[0]))
        with self._connecting:
            if key not in self._clusters:
                self._clusters[key] = self.redis_client_cls(**options)
            cluster: RedisCluster = self._clusters[key]
        return cluster

    def disconnect(self, connection: RedisCluster) -> None:
        """Close the client's connections to every node; it opens them again where it needs them."""
        connection.disconnect_connection_pools()  # type: ignore[no-untyped-call]
