"""Settings of the test run: a database alias and a cache alias for each server that is there."""

from __future__ import annotations

import os

from testproject import settings as testproject
from tests import servers

SECRET_KEY = "of the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = testproject.ROOT_URLCONF
INSTALLED_APPS = testproject.INSTALLED_APPS
MIDDLEWARE = testproject.MIDDLEWARE
TEMPLATES = testproject.TEMPLATES
STATIC_URL = testproject.STATIC_URL
# The hasher for sites takes a third of a second for each password.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Of the toolbar where a test installs it: it reads them once.
DEBUG_TOOLBAR_PANELS = ["django_persist.panels.PersistPanel"]

_folder = servers.shared_folder()
DATABASES: dict[str, dict[str, object]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _folder / "run.sqlite3",
        # A file, so that other processes and threads can open it too.
        "TEST": {"NAME": _folder / "test.sqlite3"},
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            # On a busy machine many writers may wait for longer than SQLite's five seconds.
            "timeout": 30,
        },
    },
    "postgresql": servers.database(servers.postgresql()),
}
for name, url in (("mariadb", servers.mariadb()), ("mysql", servers.mysql())):
    if url:
        DATABASES[name] = {**servers.database(url), "TEST": {"NAME": servers.run()}}

# A worker of a parallel run has keys of its own on the servers that all share.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
CACHES: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "valkey": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": servers.valkey(),
        "KEY_PREFIX": f"{servers.run()}_{_worker}",
    },
}
if url := servers.redis():
    CACHES["redis"] = {**CACHES["valkey"], "LOCATION": url}

# Without it, Django 6.1 warns of a page's code that sends mail. The tests keep what is sent.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
