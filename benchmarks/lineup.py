"""Which contenders are compared on which store."""

from __future__ import annotations

from django.core.cache import caches

from django_persist import stores
from tests import servers

from .baselines.database_library import database_library
from .baselines.django_cursor import DjangoCursor
from .baselines.memory import BareDict, JsonDict
from .baselines.orm import OrmModel
from .baselines.redis import RedisPy
from .contenders import Cache, Contender, DatabaseCache, DjangoRedis, Ours
from .servers import DATABASES, REDIS, redis_url


def contenders(store: str) -> list[Contender]:
    """Return ours, then the peers, then the baselines."""
    ours = Ours(stores[store])
    if store in DATABASES:
        peer = DatabaseCache("DatabaseCache", caches[store])
        return [ours, peer, OrmModel(store), DjangoCursor(store), database_library(store)]
    if store in REDIS:
        return [
            ours,
            DjangoRedis("django-redis", caches[store]),
            Cache("Django's RedisCache", caches[f"{store} by Django"]),
            RedisPy(redis_url(store), f"{servers.run()}:"),
        ]
    return [ours, Cache("LocMemCache", caches[store]), JsonDict(), BareDict()]
