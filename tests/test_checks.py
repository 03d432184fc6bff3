"""Invalid settings: `stores` raises, and the system check has an id and a hint for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_persist import stores
from django_persist.checks import check_settings

MEMORY = "django_persist.drivers.memory.MemoryDriver"
DATABASE = "django_persist.drivers.database.DatabaseDriver"
REDIS = "django_persist.drivers.redis.RedisDriver"


def one(**settings: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": MEMORY, **settings}}


def two(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"default": {"BACKEND": MEMORY, **one}, "other": {"BACKEND": MEMORY, **other}}


def named(name: str, prefix: str = "") -> dict[str, Any]:
    return {"OPTIONS": {"name": name}, "PREFIX": prefix}


REFUSED: dict[str, tuple[Any, str, str]] = {
    "None": (None, "E001", "PERSIST must be a dict"),
    "a list": ([MEMORY], "E001", "PERSIST must be a dict"),
    "an alias that is no str": ({"default": {}, 5: {}}, "E001", "PERSIST must be a dict"),
    "no default": ({"hot": {"BACKEND": MEMORY}}, "E001", "PERSIST has no 'default'"),
    "empty": ({}, "E001", "PERSIST has no 'default'"),
    "no dict": ({"default": MEMORY}, "E002", r"PERSIST\['default'\] must be a dict, not str"),
    "unknown setting": (one(PREFX="a"), "E002", "unknown setting 'PREFX'. Did you mean 'PREFIX'?"),
    "Django's word": (one(KEY_PREFIX="a"), "E002", "'KEY_PREFIX'. Did you mean 'PREFIX'?"),
    "lower case": (one(zzz=1), "E002", "'zzz'. Known are 'BACKEND', 'OPTIONS', 'PREFIX'"),
    "no BACKEND": ({"default": {}}, "E002", r"has no BACKEND. .*DatabaseDriver"),
    "BACKEND None": ({"default": {"BACKEND": None}}, "E003", r"\['BACKEND'\], None, can't be"),
    "BACKEND not dotted": ({"default": {"BACKEND": "redis"}}, "E003", "can't be imported"),
    "BACKEND that begins with a dot": ({"default": {"BACKEND": ".X"}}, "E003", "can't be imported"),
    "BACKEND missing": ({"default": {"BACKEND": "no.such.Driver"}}, "E003", "No module named"),
    "BACKEND misspelt": ({"default": {"BACKEND": MEMORY + "s"}}, "E003", f"{MEMORY}s', can't be"),
    "BACKEND no driver": ({"default": {"BACKEND": "datetime.date"}}, "E003", "is not a driver"),
    "BACKEND no class": ({"default": {"BACKEND": "os.path"}}, "E003", "is not a driver"),
    "BACKEND abstract": (
        {"default": {"BACKEND": "django_persist.drivers.cache.CacheDriver"}},
        *("E003", "is not a driver"),
    ),
    "BACKEND base": (
        {"default": {"BACKEND": "django_persist.drivers.base.Driver"}},
        *("E003", "is not a driver"),
    ),
    "OPTIONS no dict": (one(OPTIONS=["name"]), "E004", r"\['OPTIONS'\] must be a dict, not list"),
    "OPTIONS None": (one(OPTIONS=None), "E004", r"\['OPTIONS'\] must be a dict, not NoneType"),
    "unknown option": (one(OPTIONS={"nam": "a"}), "E004", "'nam'. Did you mean 'name'?"),
    "option no str": (one(OPTIONS={5: "a"}), "E004", "unknown option 5"),
    "missing option": ({"default": {"BACKEND": REDIS}}, "E004", "no 'cache', which RedisDriver"),
    "name of another type": (one(OPTIONS={"name": 5}), "E004", "must be a str, not int"),
    "PREFIX of another type": (one(PREFIX=5), "E002", r"\['PREFIX'\] must be a str, not int"),
    "PREFIX None": (one(PREFIX=None), "E002", r"\['PREFIX'\] must be a str, not NoneType"),
    "PREFIX too long": (one(PREFIX="p" * 65), "E002", "has 65 characters. .*at most 64"),
    "PREFIX with NUL": (one(PREFIX="a\0"), "E002", r"\['PREFIX'\] is invalid: .*NUL"),
    "PREFIX with a surrogate": (one(PREFIX="\ud800"), "E002", "is invalid: .*surrogate"),
    "unknown cache": (
        {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "nowhere"}}},
        *("E010", "'nowhere'"),
    ),
    "another kind of cache": (
        {"default": {"BACKEND": REDIS, "OPTIONS": {"cache": "default"}}},
        *("E011", "is neither Django's RedisCache nor a django-redis cache"),
    ),
    **{
        f"DEFAULT_EXPIRES {value!r}": (
            one(DEFAULT_EXPIRES=value),
            *("E002", r"\['DEFAULT_EXPIRES'\] is invalid"),
        )
        for value in (0, -1, "60", True, float("nan"), timedelta(0), timedelta.max)
    },
    "DEFAULT_EXPIRES a moment": (
        one(DEFAULT_EXPIRES=datetime(2999, 1, 1, tzinfo=UTC)),
        *("E002", r"\['DEFAULT_EXPIRES'\] is invalid: .*a lifetime, not a moment"),
    ),
    **{
        f"MAX_VALUE_BYTES {value!r}": (
            one(MAX_VALUE_BYTES=value),
            *("E002", r"\['MAX_VALUE_BYTES'\] must be a positive int"),
        )
        for value in (0, -1, "100", True, 1.5, timedelta(1))
    },
    **{
        f"using {value!r}": (
            {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": value}}},
            *("E006", f"DATABASES has no {value!r}. Known are 'default', 'postgresql'"),
        )
        for value in ("nowhere", "", 5, None)
    },
    "one place": (two(named("a"), named("a")), "E005", "'default'.*'other'.* in the same place"),
    "one prefix": (two(named("a", "p"), named("a", "p")), "E005", "in the same place"),
    "no prefix and one": (two(named("a"), named("a", "p")), "E005", "in the same place"),
    "a prefix of a prefix": (two(named("a", "p"), named("a", "p:")), "E005", "in the same place"),
    "a prefix of a prefix, turned": (
        *(two(named("a", "pp"), named("a", "p")), "E005", "in the same place"),
    ),
    "one database": (
        {"default": {"BACKEND": DATABASE}, "other": {"BACKEND": DATABASE, "OPTIONS": {}}},
        *("E005", "in the same place"),
    ),
    "one Redis": (
        {
            alias: {"BACKEND": REDIS, "OPTIONS": {"cache": "valkey"}, "PREFIX": prefix}
            for alias, prefix in (("default", "a"), ("other", "ab"))
        },
        *("E005", "in the same place"),
    ),
}


SAY_IT_ALL = (
    "must be a dict, not",
    "must be a str, not",
    "is invalid: ",
    "which RedisDriver needs",
)
"""Messages that need no hint."""


def messages(**kwargs: Any) -> list[checks.CheckMessage]:
    return checks.run_checks(tags=["django_persist"], **kwargs)


@pytest.mark.parametrize(("setting", "id_", "message"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_setting_is_refused(settings: Any, setting: Any, id_: str, message: str) -> None:
    settings.PERSIST = setting
    message = message.replace("'?", r"'\?")
    with pytest.raises(ImproperlyConfigured, match=message) as caught:
        stores["default"]
    [found] = messages()
    assert found.id == f"django_persist.{id_}"
    assert found.level == checks.ERROR
    assert str(caught.value) == f"{found.msg} {found.hint or ''}".rstrip()
    assert found.hint or any(words in found.msg for words in SAY_IT_ALL)


def test_all_invalid_settings_are_reported_at_once(settings: Any) -> None:
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY, "PREFX": ""},
        "b": {"BACKEND": "nowhere"},
        "c": {"BACKEND": MEMORY, "OPTIONS": {"name": "x"}},
        "d": {"BACKEND": MEMORY, "OPTIONS": {"name": "x"}},
        "e": {"BACKEND": MEMORY, "OPTIONS": {"name": "y"}},
    }
    assert [m.id for m in messages()] == [
        *("django_persist.E002", "django_persist.E003", "django_persist.E005"),
    ]
    with pytest.raises(ImproperlyConfigured):
        stores["e"]


FINE: dict[str, Any] = {
    "defaults": one(),
    "everything": one(OPTIONS={}, PREFIX="p" * 64, DEFAULT_EXPIRES=0.5, MAX_VALUE_BYTES=1),
    "no default expiry": one(DEFAULT_EXPIRES=None, MAX_VALUE_BYTES=None),
    "a timedelta": one(DEFAULT_EXPIRES=timedelta(days=7)),
    "prefixes": two(named("a", "p:"), named("a", "q:")),
    "a prefix within a prefix": two(named("a", "p:"), named("a", "a-p:")),
    "different case": two(named("a", "p"), named("a", "P")),
    "other memories": two(named("a"), named("b")),
    "other databases": {
        "default": {"BACKEND": DATABASE},
        "other": {"BACKEND": DATABASE, "OPTIONS": {"using": "postgresql"}},
    },
    "other servers": {
        "default": {"BACKEND": REDIS, "OPTIONS": {"cache": "valkey"}},
        "other": {"BACKEND": DATABASE, "OPTIONS": {"using": "postgresql"}},
        "third": {"BACKEND": MEMORY},
    },
}


@pytest.mark.parametrize("setting", FINE.values(), ids=FINE)
def test_valid_settings_are_accepted(settings: Any, setting: Any) -> None:
    settings.PERSIST = setting
    assert messages() == []
    for alias in setting:
        assert stores[alias] is not None


def test_without_the_setting_there_is_no_message() -> None:
    assert messages() == []


def test_the_check_has_its_tag() -> None:
    assert check_settings in checks.registry.registry.get_checks()
    assert "django_persist" in checks.registry.registry.tags_available()
