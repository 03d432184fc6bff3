"""The lowest ratios that are acceptable, for small values.

Those of time hold for one thread and a run without options, those of CPU time for one with `--cpu`.
"""

from __future__ import annotations

BASELINE_RATIO = 1 / 1.05
"""Ours may take 5 % longer than the same statements or commands without a store."""

MANY_KEYS_RATIO = 0.85
"""For calls of many keys, in which ours checks each value and the baseline checks none."""

MANY_KEYS = ("get_many", "set_many")

BASELINES = ("Django's cursor", "redis-py")

THROUGH_CURSOR = '"direct": False'
BELOW_CURSOR = "the library"
ON_VALKEY = "django-redis, Valkey"

_DJANGO_REDIS = {"get": 1.15, "set": 1.0, "get_many": 2.1, "set_many": 1.5}
_DJANGO = {"get": 1.9, "set": 1.6}

TARGETS: dict[tuple[str, str], dict[str, float]] = {
    ("sqlite", "DatabaseCache"): {
        "get": 4.0, "set": 1.8, "create": 1.8, "incr": 2.6, "set_many": 25,
    },
    ("postgresql", "DatabaseCache"): {
        "get": 1.6, "set": 2.6, "create": 2.6, "incr": 3.2, "set_many": 30,
    },
    ("postgresql-prepared", "DatabaseCache"): {"get": 2.2},
    ("mariadb", "DatabaseCache"): {"get": 1.45, "set": 3.0, "create": 2.2, "incr": 3.5},
    ("sqlite", "ORM model"): {"get": 12, "set": 7},
    ("valkey", "django-redis"): _DJANGO_REDIS,
    ("redis", "django-redis"): _DJANGO_REDIS,
    ("valkey", "Django's RedisCache"): _DJANGO,
    ("redis", "Django's RedisCache"): _DJANGO,
    ("memory", "LocMemCache"): {"get": 3.0, "set": 1.4, "create": 1.4, "incr": 3.5},
}  # fmt: skip

_FLOOR = {"get": 0.7}
_CHEAPER_THAN_REDIS = {"get": 1 / 0.6}

CPU_TARGETS: dict[tuple[str, str], dict[str, float]] = {
    ("sqlite", THROUGH_CURSOR): {"get": 1.7, "set": 1.3, "create": 1.3, "incr": 1.3},
    ("postgresql", THROUGH_CURSOR): {"get": 2.0, "set": 1.7, "create": 1.3, "incr": 1.3},
    ("postgresql-prepared", THROUGH_CURSOR): {
        "get": 2.3, "set": 1.7, "create": 1.3, "incr": 1.3,
    },
    ("mariadb", THROUGH_CURSOR): {"get": 1.4, "set": 1.4, "create": 1.3, "incr": 1.3},
    ("mysql", THROUGH_CURSOR): {"get": 1.4, "create": 1.3, "incr": 1.3},
    ("sqlite", BELOW_CURSOR): _FLOOR,
    ("postgresql", BELOW_CURSOR): _FLOOR,
    ("postgresql-prepared", BELOW_CURSOR): _FLOOR,
    ("mariadb", BELOW_CURSOR): _FLOOR,
    ("mysql", BELOW_CURSOR): _FLOOR,
    ("postgresql", ON_VALKEY): _CHEAPER_THAN_REDIS,
    ("postgresql-prepared", ON_VALKEY): _CHEAPER_THAN_REDIS,
}  # fmt: skip


def baseline_ratio(operation: str) -> float:
    """Return the lowest acceptable ratio of a baseline's time to ours."""
    return MANY_KEYS_RATIO if operation in MANY_KEYS else BASELINE_RATIO


def target(store: str, contender: str, operation: str) -> float | None:
    """Return the lowest acceptable ratio of a contender's time to ours, or None."""
    if contender in BASELINES:
        return baseline_ratio(operation)
    return TARGETS.get((store, contender), {}).get(operation)


def cpu_target(store: str, contender: str, operation: str) -> float | None:
    """Return the lowest acceptable ratio of a contender's CPU time to ours, or None."""
    # Its name goes on with that of the library's function.
    kind = BELOW_CURSOR if contender.startswith(BELOW_CURSOR) else contender
    return CPU_TARGETS.get((store, kind), {}).get(operation)
