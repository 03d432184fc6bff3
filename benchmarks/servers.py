"""The servers of the comparison, and Django's settings for them: our stores and the caches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.db import connections, models
from django.test.utils import setup_databases, teardown_databases

from tests import servers

LIFETIME = 300
"""The lifetime of every entry in seconds: the default TIMEOUT of CACHES, for all contenders."""

PREPARED = "postgresql-prepared"
"""Another database on the server of "postgresql", whose alias allows prepared statements."""

DATABASES = ("sqlite", "postgresql", PREPARED, "mariadb", "mysql")
REDIS = ("valkey", "redis")
STORES = (*DATABASES, *REDIS, "memory")

CACHE_TABLE = "cache_"
"""The prefix of the database's alias in the name of a DatabaseCache's table."""

DRIVERS = "django_persist.drivers"
CACHES = "django.core.cache.backends"
MEMORY: dict[str, object] = {"BACKEND": f"{DRIVERS}.memory.MemoryDriver"}


class CacheRouter:
    """Routes each DatabaseCache to the database that its table is named after."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        table = model._meta.db_table
        return table.removeprefix(CACHE_TABLE) if table.startswith(CACHE_TABLE) else None

    db_for_write = db_for_read


def unavailable() -> dict[str, str]:
    """Return the stores that can't be compared here, each with the reason."""
    named = {
        "mariadb": (servers.mariadb(), "PERSIST_TEST_MARIADB"),
        "mysql": (servers.mysql(), "PERSIST_TEST_MYSQL"),
        "redis": (servers.redis(), "PERSIST_TEST_REDIS"),
    }
    return {
        store: f"{variable} names no server"
        for store, (url, variable) in named.items()
        if url is None
    }


@contextmanager
def running(stores: Collection[str]) -> Iterator[None]:
    """Start the servers, configure Django, and create the databases; drop them at the end."""
    settings.configure(**_settings(stores))
    django.setup()
    aliases = {store: False for store in stores if store in DATABASES}
    created = setup_databases(verbosity=0, interactive=False, aliases=aliases)
    try:
        yield
    finally:
        connections.close_all()
        teardown_databases(created, verbosity=0)


def configure_worker(stores: Collection[str], urlconf: str) -> None:
    """Configure Django in a process that uses what a running `running()` has created."""
    made = _settings(stores)
    for store in stores:
        if store in DATABASES:
            database = made["DATABASES"][store]
            database |= {"NAME": database["TEST"]["NAME"], "CONN_MAX_AGE": None}
    settings.configure(**{**made, "ROOT_URLCONF": urlconf, "ALLOWED_HOSTS": ["*"]})
    django.setup()


def settle(store: str) -> None:
    """Write SQLite's log to its database, so that none of the next calls has to.

    Left alone, the call that makes the log 1,000 pages long does it, for all that came before.
    """
    if store == "sqlite":
        with connections[store].cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint")


def analyze(store: str) -> None:
    """Give PostgreSQL the statistics that autovacuum would gather within a minute."""
    if store in ("postgresql", PREPARED):
        with connections[store].cursor() as cursor:
            cursor.execute("ANALYZE")


def database_url(store: str) -> str:
    if store == "mariadb":
        url = servers.mariadb()
    elif store == "mysql":
        url = servers.mysql()
    else:
        url = servers.postgresql()
    assert url
    return url


def redis_url(store: str) -> str:
    url = servers.valkey() if store == "valkey" else servers.redis()
    assert url
    return url


def _settings(stores: Collection[str]) -> dict[str, Any]:
    made: dict[str, dict[str, Any]] = {
        "DATABASES": {"default": {}},
        "CACHES": {"default": {"BACKEND": f"{CACHES}.dummy.DummyCache"}},
        "PERSIST": {},
    }
    driver: dict[str, object]
    for store in stores:
        if store in DATABASES:
            made["DATABASES"][store] = _database(store)
            made["CACHES"][store] = _cache(f"{CACHES}.db.DatabaseCache", CACHE_TABLE + store)
            driver = {
                "BACKEND": f"{DRIVERS}.database.DatabaseDriver",
                "OPTIONS": {"using": store},
            }
        elif store in REDIS:
            url = redis_url(store)
            made["CACHES"][f"{store} by Django"] = _cache(f"{CACHES}.redis.RedisCache", url)
            made["CACHES"][store] = _cache("django_redis.cache.RedisCache", url)
            driver = {"BACKEND": f"{DRIVERS}.redis.RedisDriver", "OPTIONS": {"cache": store}}
        else:
            made["CACHES"][store] = _cache(f"{CACHES}.locmem.LocMemCache", store)
            driver = MEMORY
        made["PERSIST"][store] = {**driver, "DEFAULT_EXPIRES": LIFETIME}
    made["PERSIST"]["default"] = {**MEMORY, "OPTIONS": {"name": "unused"}}
    return {
        **made,
        "DATABASE_ROUTERS": [f"{__name__}.CacheRouter", f"{__package__}.sessions.SessionRouter"],
        "ROOT_URLCONF": f"{__package__}.urls",
        "INSTALLED_APPS": ["django.contrib.sessions", "django_persist", __package__],
        "SECRET_KEY": "only for benchmarks",
        "USE_TZ": True,
    }


def _database(store: str) -> dict[str, Any]:
    if store == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": servers.shared_folder() / "unused.sqlite3",
            "TEST": {"NAME": servers.shared_folder() / "benchmarks.sqlite3", "DEPENDENCIES": []},
            # IMMEDIATE, because a peer's transaction that reads and then writes would fail while
            # another thread writes.
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
            },
        }
    made: dict[str, Any] = {
        **servers.database(database_url(store)),
        "TEST": {"NAME": servers.run(), "DEPENDENCIES": []},
    }
    if store == PREPARED:
        made |= {"OPTIONS": {"prepare_threshold": 0}}
        made["TEST"]["NAME"] += "_prepared"
    return made


def _cache(backend: str, location: str) -> dict[str, Any]:
    cache: dict[str, Any] = {
        "BACKEND": backend,
        "LOCATION": location,
        "TIMEOUT": LIFETIME,
        "KEY_PREFIX": servers.run(),
    }
    if "redis" not in backend:
        cache["OPTIONS"] = {"MAX_ENTRIES": 1_000_000_000}  # no culling
    return cache
