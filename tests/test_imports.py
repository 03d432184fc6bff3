"""Which modules are loaded when: none before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS_AT_IMPORT = {
    "django_persist",
    "django_persist.keyspace",
    "django_persist.backoff",
    "django_persist.codec",
    "django_persist.codec.fidelity",
    "django_persist.codec.mismatches",
    "django_persist.codec.pydantic_models",
    "django_persist.codec.quick",
    "django_persist.codec.shapes",
    "django_persist.codec.text",
    "django_persist.codec.types",
    "django_persist.codec.unknown",
    "django_persist.codec.upgrades",
    "django_persist.conf",
    "django_persist.drivers",
    "django_persist.drivers.base",
    "django_persist.exceptions",
    "django_persist.expiry",
    "django_persist.handler",
    "django_persist.interruptions",
    "django_persist.keys",
    "django_persist.store",
}
OURS_AT_SETUP = {f"django_persist.{name}" for name in ("apps", "checks", "models")}
FOREIGN = {"redis", "django_redis", "hiredis", "psycopg", "MySQLdb", "pydantic", "attr", "attrs"}

WATCH = """
import sys
import msgspec

made = []
for name in ("Decoder", "Encoder"):
    kind = getattr(msgspec.json, name)
    def make(*args, _kind=kind, **kwargs):
        made.append((_kind.__name__, args, kwargs))
        return _kind(*args, **kwargs)
    setattr(msgspec.json, name, make)
"""
IMPORT = """
import django_persist
"""
SETUP = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_persist"], PERSIST={"default": {
    "BACKEND": "django_persist.drivers.memory.MemoryDriver"
}})
django.setup()
"""
MIDDLEWARE = """
from django_persist.middleware import PersistMiddleware
PersistMiddleware(lambda request: None)
"""
PRINT = """
print(*sys.modules)
print(*(name for name, args, kwargs in made if args or "type" in kwargs))
"""


def loaded(code: str) -> tuple[set[str], set[str]]:
    """Run code; return the modules that are loaded then, and the typed decoders that were made."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH + code + PRINT], capture_output=True, text=True, check=True
    )
    modules, typed = done.stdout.split("\n")[:2]
    return set(modules.split()), set(typed.split())


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "django_persist"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (IMPORT, OURS_AT_IMPORT),
        (IMPORT + SETUP, OURS_AT_IMPORT | OURS_AT_SETUP),
        (SETUP + MIDDLEWARE, OURS_AT_IMPORT | OURS_AT_SETUP | {"django_persist.middleware"}),
    ],
    ids=["import", "setup", "middleware"],
)
def test_nothing_is_loaded_before_it_is_needed(code: str, expected: set[str]) -> None:
    modules, typed = loaded(code)
    assert ours(modules) == expected
    assert not modules & FOREIGN
    assert not typed


def test_a_store_loads_only_its_own_driver() -> None:
    modules, _ = loaded(SETUP + "from django_persist import persist\npersist.set('a', 1)\n")
    drivers = {name for name in modules if name.startswith("django_persist.drivers.")}
    assert drivers == {
        f"django_persist.drivers.{name}" for name in ("base", "batches", "cache", "memory")
    }
    assert not modules & FOREIGN
