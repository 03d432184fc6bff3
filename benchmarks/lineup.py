"""Which contenders are compared on which store."""

from __future__ import annotations

from collections.abc import Collection

from django.core.cache import caches

from django_persist import Store, stores
from django_persist.drivers.database import DatabaseDriver
from tests import servers

from .baselines.below_cursor import below_cursor
from .baselines.database_library import database_library
from .baselines.django_cursor import DjangoCursor
from .baselines.memory import BareDict, JsonDict
from .baselines.orm import OrmModel
from .baselines.redis import BareSocket, RedisPy
from .contenders import Cache, Contender, DatabaseCache, DjangoRedis, Ours
from .servers import DATABASES, LIFETIME, REDIS, redis_url
from .targets import BELOW_CURSOR, ON_VALKEY, THROUGH_CURSOR


def contenders(store: str) -> list[Contender]:
    """Return ours, then the peers, then the baselines."""
    ours = Ours(stores[store])
    if store in DATABASES:
        return [ours, *_peers(store), DjangoCursor(store), database_library(store)]
    if store in REDIS:
        return [ours, *_peers(store), RedisPy(redis_url(store), f"{servers.run()}:")]
    return [ours, *_peers(store), JsonDict(), BareDict()]


def cpu_contenders(store: str, running: Collection[str]) -> list[Contender]:
    """Return ours, then what its CPU time is compared with, if its own store is running."""
    if store in DATABASES:
        floor = below_cursor(store)
        floor.name = f"{BELOW_CURSOR}: {floor.name}"
        peer = DatabaseCache("DatabaseCache", caches[store])
        lineup = [*_both_ways(store), floor, DjangoCursor(store), peer]
        if "valkey" in running:
            lineup.append(DjangoRedis(ON_VALKEY, caches["valkey"]))
        return lineup
    if store in REDIS:
        return [*contenders(store), BareSocket(redis_url(store), f"{servers.run()}:")]
    return contenders(store)


def site_contenders(store: str) -> list[Contender]:
    """Return what the views of a site can use: ours in each of its ways, then the peers."""
    ours = _both_ways(store) if store in DATABASES else [Ours(stores[store])]
    return [*ours, *_peers(store)]


def _both_ways(store: str) -> list[Contender]:
    """Return our store in a database, then the same with the option `"direct": False`."""
    driver = DatabaseDriver(store, direct=False)
    return [Ours(stores[store]), Ours(Store(driver, default_expires=LIFETIME), THROUGH_CURSOR)]


def _peers(store: str) -> list[Contender]:
    if store in DATABASES:
        return [DatabaseCache("DatabaseCache", caches[store]), OrmModel(store)]
    if store in REDIS:
        by_django = Cache("Django's RedisCache", caches[f"{store} by Django"])
        return [DjangoRedis("django-redis", caches[store]), by_django]
    return [Cache("LocMemCache", caches[store])]
