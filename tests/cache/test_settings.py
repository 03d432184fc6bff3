"""Settings of an alias of CACHES over a store, and the system check of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured

from django_persist import stores
from django_persist.checks import check_caches
from django_persist.drivers.cache import CacheDriver, resolve
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import InvalidStoreError
from tests.cache.conftest import BACKEND
from tests.conftest import BACKENDS

MEMORY = BACKENDS["memory"]


class LoopingDriver(CacheDriver):
    """A driver over an alias of CACHES, as a project may have one."""

    def __init__(self, cache: str) -> None:
        super().__init__(resolve(cache))

    place = MemoryDriver.place
    name = "looping"


LoopingDriver.__abstractmethods__ = frozenset()


def messages() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_persist.E")]


def use(settings: Any, **config: Any) -> None:
    settings.PERSIST = {"default": MEMORY}
    state = {"BACKEND": BACKEND, "LOCATION": "default", **config}
    settings.CACHES = {**settings.CACHES, "state": state}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another store": ({"LOCATION": "defalt"}, "LOCATION is not the alias .* mean 'default'"),
    "a URL": ({"LOCATION": "redis://:secret@host"}, "not the alias .* Known are 'default'"),
    "URLs": ({"LOCATION": ["redis://a", "redis://b"]}, "not the alias .* Known are 'default'"),
    "culling": ({"OPTIONS": {"MAX_ENTRIES": 9}}, "OPTIONS is not empty. .*never culls"),
    "unknown setting": ({"TIMEUOT": 60}, "unknown setting 'TIMEUOT'. Did you mean 'TIMEOUT'"),
    "TIMEOUT": ({"TIMEOUT": "soon"}, "TIMEOUT is 'soon'. Use seconds"),
    "KEY_PREFIX, too long": (
        {"KEY_PREFIX": "k" * 200},
        "KEY_PREFIX takes 200 characters",
    ),
    "KEY_PREFIX, quoted": ({"KEY_PREFIX": ":" * 60}, "KEY_PREFIX takes 180 characters"),
    "KEY_PREFIX with NUL": ({"KEY_PREFIX": "\0"}, "KEY_PREFIX is invalid: .*NUL"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_settings_are_refused(settings: Any, case: str) -> None:
    config, expected = REFUSED[case]
    use(settings, **config)
    with pytest.raises(ImproperlyConfigured, match=expected) as caught:
        caches["state"].get("a")
    assert "secret" not in str(caught.value)
    [message] = messages()
    assert message.id == "django_persist.E016"
    assert message.msg.startswith("CACHES['state']: ")
    assert message.hint


def test_no_location_is_refused(settings: Any) -> None:
    use(settings)
    del settings.CACHES["state"]["LOCATION"]
    with pytest.raises(InvalidStoreError, match="LOCATION is not the alias"):
        caches["state"].get("a")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"TIMEOUT": None, "OPTIONS": {}, "VERSION": 2, "KEY_FUNCTION": lambda key, *_: key},
        {"TIMEOUT": "60", "KEY_PREFIX": "k" * 60},
    ],
)
def test_valid_settings_are_accepted(settings: Any, config: dict[str, Any]) -> None:
    use(settings, **config)
    assert messages() == []
    caches["state"].set("a", 1)
    assert caches["state"].get("a") == 1
    caches["state"].clear()


def test_other_backends_are_left_alone(settings: Any) -> None:
    use(settings)
    settings.CACHES = {
        **settings.CACHES,
        "missing": {"BACKEND": "no.such.Cache"},
        "nothing": {},
        "no path": {"BACKEND": None},
    }
    # Not run_checks(): Django's own checks fail for these.
    assert check_caches() == []


def test_what_is_wrong_in_persist_is_reported_once(settings: Any) -> None:
    use(settings)
    settings.PERSIST = {"default": {**MEMORY, "PREFX": ""}}
    assert [message.id for message in messages()] == ["django_persist.E002"]
    with pytest.raises(InvalidStoreError, match="'PREFX'"):
        caches["state"].get("a")


def test_overridden_stores_are_used_at_once(settings: Any) -> None:
    use(settings)
    cache = caches["state"]
    cache.set("a", 1)
    settings.PERSIST = {"default": {**MEMORY, "OPTIONS": {"name": "another"}}}
    assert cache.get("a") is None
    settings.PERSIST = {"default": MEMORY}
    assert cache.get("a") == 1
    cache.clear()


@pytest.fixture(params=["redis", "another driver"])
def loop(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """A store that is to be kept in a cache that is to be kept in this store."""
    use(settings)
    backend = BACKENDS["valkey"]["BACKEND"]
    if request.param != "redis":
        backend = f"{__name__}.LoopingDriver"
    settings.PERSIST = {"default": {"BACKEND": backend, "OPTIONS": {"cache": "state"}}}
    yield "E011" if request.param == "redis" else "E016"
    settings.PERSIST = {"default": MEMORY}


def test_a_cache_and_a_store_in_each_other_are_refused(loop: str) -> None:
    assert [message.id for message in messages()] == [f"django_persist.{loop}"]
    for use in (lambda: caches["state"].get("a"), caches["state"].clear):
        with pytest.raises(
            ImproperlyConfigured, match="PersistCache|is neither Django's RedisCache"
        ):
            use()


def test_other_settings_look_past_the_cache(settings: Any) -> None:
    """The check for aliases that flush the same Redis reads all of CACHES."""
    use(settings)
    settings.PERSIST = {"default": BACKENDS["valkey"]}
    assert run_checks(tags=["django_persist"]) == []
    assert "default" in stores
