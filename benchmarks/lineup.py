"""Who is compared on which store."""

from __future__ import annotations

from django.core.cache import caches

from django_persist import stores
from tests import servers

from .baselines.database_library import bare
from .baselines.django_cursor import ThroughDjango
from .baselines.memory import BareDict, JsonDict
from .baselines.orm import ByOrm
from .baselines.redis import RedisPy
from .contenders import Cache, Contender, DatabaseCache, DjangoRedis, Ours
from .servers import DATABASES, REDIS, redis_url


def contenders(store: str) -> list[Contender]:
    """Return ours, then the peers, then what the driver underneath needs by itself."""
    ours = Ours(stores[store])
    if store in DATABASES:
        peer = DatabaseCache("DatabaseCache", caches[store])
        return [ours, peer, ByOrm(store), ThroughDjango(store), bare(store)]
    if store in REDIS:
        return [
            ours,
            DjangoRedis("django-redis", caches[store]),
            Cache("Django's RedisCache", caches[f"{store} by Django"]),
            RedisPy(redis_url(store), f"{servers.run()}:"),
        ]
    return [ours, Cache("LocMemCache", caches[store]), JsonDict(), BareDict()]
