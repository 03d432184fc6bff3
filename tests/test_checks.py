"""Invalid settings: `stores` raises, and the system check has an id and a hint for each."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from django_persist import stores
from django_persist.checks import check_settings
from django_persist.middleware import PersistMiddleware

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


@pytest.mark.parametrize(
    "path", ["redis", ".X", "no.such.Driver", f"{MEMORY}s", "datetime.date", "os.path", None, 5]
)
def test_a_bad_path_of_a_driver_is_shown(settings: Any, path: Any) -> None:
    settings.PERSIST = {"default": {"BACKEND": path}}
    [found] = messages()
    assert found.id == "django_persist.E003"
    assert f"PERSIST['default']['BACKEND'], {path!r}, " in found.msg


def test_all_defects_are_reported_at_once(settings: Any) -> None:
    """Also those of one store, of a store that is not used, and of what surrounds PERSIST."""
    settings.PERSIST = {
        "a": {"BACKEND": "no.such.Driver", "PREFIX": 5, "DEFAULT_EXPIRES": 0},
        "b": {"BACKEND": MEMORY, "OPTIONS": {"nam": 1, "size": 2}, "MAX_VALUE_BYTES": 0, "TTL": 1},
        "c": {"BACKEND": REDIS, "OPTIONS": {"alias": "x"}},
        "d": [],
        "e": {"BACKEND": MEMORY, "DEFAULT_EXPIRES": "soon"},
        "f": {"BACKEND": MEMORY, "KEY_PREFIX": "f:"},
    }
    settings.SESSION_ENGINE = "django_persist.sessions"
    settings.PERSIST_SESSION_STORE = "session"
    settings.MIDDLEWARE = []
    found = [f"{str(m.id).removeprefix('django_persist.')} {m.msg}" for m in messages()]
    for id_, words in (
        ("E001", "no 'default'"),
        ("E003", "['a']['BACKEND'], 'no.such.Driver'"),
        ("E002", "['a']['PREFIX'] must be a str"),
        ("E002", "['a']['DEFAULT_EXPIRES'] is invalid"),
        ("E002", "['b'] has an unknown setting 'TTL'"),
        ("E004", "['b']['OPTIONS'] has an unknown option 'nam'"),
        ("E004", "['b']['OPTIONS'] has an unknown option 'size'"),
        ("E002", "['b']['MAX_VALUE_BYTES'] must be a positive int"),
        ("E004", "['c']['OPTIONS'] has an unknown option 'alias'"),
        ("E004", "['c']['OPTIONS'] has no 'cache'"),
        ("E002", "['d'] must be a dict"),
        ("E002", "['e']['DEFAULT_EXPIRES'] is invalid"),
        ("E002", "['f'] has an unknown setting 'KEY_PREFIX'"),
        ("E005", "['e'] and PERSIST['f'] keep their entries in the same place"),
        ("E014", "PERSIST_SESSION_STORE is 'session'"),
        ("W011", "MIDDLEWARE has no PersistMiddleware"),
    ):
        matching = [message for message in found if message.startswith(id_) and words in message]
        assert len(matching) == 1, words
        found.remove(matching[0])
    assert found == []


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


class OwnMiddleware(PersistMiddleware):
    pass


def function_middleware(get_response: Any) -> Any:
    return get_response


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        (["django_persist.middleware.PersistMiddleware"], []),
        ([f"{__name__}.OwnMiddleware"], []),
        ([], ["django_persist.W011"]),
        (
            ["django.middleware.common.CommonMiddleware", f"{__name__}.function_middleware"],
            ["django_persist.W011"],
        ),
        (["no.such.Middleware"], ["django_persist.W011"]),
    ],
)
def test_a_missing_middleware_is_warned_of(
    settings: Any, middleware: list[str], expected: list[str]
) -> None:
    settings.MIDDLEWARE = middleware
    found = messages()
    assert [message.id for message in found] == expected
    assert all(message.level == checks.WARNING for message in found)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("django_persist.sessions", ["django_persist.E014"]),
        ("tests.sessions.engine", ["django_persist.E014"]),
        ("django.contrib.sessions.backends.db", []),
        ("no.such.engine", []),
    ],
)
def test_the_store_of_sessions_is_only_checked_where_sessions_use_it(
    settings: Any, engine: str, expected: list[str]
) -> None:
    settings.SESSION_ENGINE, settings.PERSIST_SESSION_STORE = engine, "nowhere"
    assert [message.id for message in messages()] == expected


def test_a_store_in_memory_is_named_by_its_alias(settings: Any) -> None:
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY, "OPTIONS": {"name": "scratch"}},
        "scratch": {"BACKEND": MEMORY, "OPTIONS": {"name": "other"}},
        "hot": {"BACKEND": MEMORY},
    }
    found = checks.run_checks(tags=["django_persist"], include_deployment_checks=True)
    in_memory = [message for message in found if message.id == "django_persist.W002"]
    assert [message.msg.split(" is in memory")[0] for message in in_memory] == [
        "PERSIST['default']",
        "PERSIST['scratch']",
        "PERSIST['hot']",
    ]


def test_a_missing_app_is_warned_of(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_persist"]
    with pytest.warns(RuntimeWarning, match="'django_persist' is not in INSTALLED_APPS"):
        PersistMiddleware(lambda request: HttpResponse())
    code = """
import django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}})
django.setup()
from django_persist import persist
persist.set("a", 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Add 'django_persist' to INSTALLED_APPS." in done.stderr.splitlines()[-1]
