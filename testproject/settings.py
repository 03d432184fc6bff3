"""Settings of the test project: a site for your own machine, with the store in PERSIST_STORE.

Environment variables:

- PERSIST_STORE: sqlite (the default), postgresql, mariadb, redis or memory.
- SQLITE_PATH, POSTGRESQL_URL, MARIADB_URL, REDIS_URL: where the store is, unless it is the default.
- SECRET_KEY, ALLOWED_HOSTS (comma-separated), DEBUG=1: Django's settings.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SECRET_KEY", "insecure: only for your own machine")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
DEBUG = os.environ.get("DEBUG") == "1"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_persist",
    "testproject.site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_persist.middleware.PersistMiddleware",
]
ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"
ASGI_APPLICATION = "testproject.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"

# The toolbar, if it is installed: pip install django-persist[toolbar].
if DEBUG and find_spec("debug_toolbar"):
    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
    INTERNAL_IPS = ["127.0.0.1", "::1"]
    DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.history.HistoryPanel",
        "debug_toolbar.panels.timer.TimerPanel",
        "django_persist.panels.PersistPanel",
        "debug_toolbar.panels.sql.SQLPanel",
        "debug_toolbar.panels.cache.CachePanel",
    ]

POSTGRESQL_URL = os.environ.get("POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB_URL = os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/test")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def server(engine: str, url: str) -> dict[str, Any]:
    """Return the settings in DATABASES for the URL of a server."""
    parts = urlsplit(url)
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": unquote(parts.path.lstrip("/")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("SQLITE_PATH", BASE_DIR / "db.sqlite3"),
    "CONN_MAX_AGE": None,
    "OPTIONS": {
        # WAL: readers don't wait for a writer. IMMEDIATE: a transaction waits for a writer when it
        # begins. If it waited only when it first writes, SQLite would refuse it at once.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
}
DATABASE_DRIVER = {"BACKEND": "django_persist.drivers.database.DatabaseDriver"}

STORES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # The default database, and the store.
    "sqlite": (SQLITE, DATABASE_DRIVER),
    "postgresql": (server("postgresql", POSTGRESQL_URL), DATABASE_DRIVER),
    "mariadb": (server("mysql", MARIADB_URL), DATABASE_DRIVER),
    "redis": (
        SQLITE,
        {"BACKEND": "django_persist.drivers.redis.RedisDriver", "OPTIONS": {"cache": "persist"}},
    ),
    "memory": (SQLITE, {"BACKEND": "django_persist.drivers.memory.MemoryDriver"}),
}

PERSIST_STORE = os.environ.get("PERSIST_STORE", "sqlite")
if PERSIST_STORE not in STORES:
    raise ImproperlyConfigured(
        f"PERSIST_STORE={PERSIST_STORE!r} is unknown. Set it to one of {', '.join(STORES)}."
    )
database, driver = STORES[PERSIST_STORE]
DATABASES = {"default": database}
if driver is DATABASE_DRIVER:
    driver = {**DATABASE_DRIVER, "OPTIONS": {"using": "default"}}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # Only connects when it is used: with PERSIST_STORE=redis, and in the demo.
    "persist": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
}
PERSIST = {"default": {**driver, "MAX_VALUE_BYTES": 1024 * 1024}}
SESSION_ENGINE = "django_persist.sessions"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django_persist": {"handlers": ["console"]}},
}
