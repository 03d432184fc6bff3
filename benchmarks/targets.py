"""The lowest ratios that are acceptable, for small values and one thread."""

from __future__ import annotations

BASELINE_RATIO = 1 / 1.05
"""Ours may take 5 % longer than the same statements or commands without a store."""

BASELINES = ("Django's cursor", "redis-py")

_DJANGO_REDIS = {"get": 1.15, "set": 1.0, "get_many": 2.1, "set_many": 1.5}
_DJANGO = {"get": 1.9, "set": 1.6}

TARGETS: dict[tuple[str, str], dict[str, float]] = {
    ("sqlite", "DatabaseCache"): {
        "get": 2.0, "set": 1.8, "create": 1.8, "incr": 2.6, "set_many": 25,
    },
    ("postgresql", "DatabaseCache"): {
        "get": 1.05, "set": 2.6, "create": 2.6, "incr": 3.2, "set_many": 30,
    },
    ("mariadb", "DatabaseCache"): {"get": 1.1, "set": 3.0, "create": 2.2, "incr": 3.5},
    ("sqlite", "ORM model"): {"get": 12, "set": 7},
    ("valkey", "django-redis"): _DJANGO_REDIS,
    ("redis", "django-redis"): _DJANGO_REDIS,
    ("valkey", "Django's RedisCache"): _DJANGO,
    ("redis", "Django's RedisCache"): _DJANGO,
    ("memory", "LocMemCache"): {"get": 3.0, "set": 1.4, "create": 1.4, "incr": 3.5},
}  # fmt: skip


def target(store: str, contender: str, operation: str) -> float | None:
    """Return the lowest acceptable ratio of a contender's time to ours, or None."""
    if contender in BASELINES:
        return BASELINE_RATIO
    return TARGETS.get((store, contender), {}).get(operation)
