"""PERSIST_SESSION_STORE names the store for sessions. An unknown store is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_persist import stores
from django_persist.sessions import SessionStore

MEMORY = "django_persist.drivers.memory.MemoryDriver"


@pytest.fixture(autouse=True)
def persist(settings: Any) -> None:
    settings.SESSION_ENGINE = "django_persist.sessions"
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY},
        "visitors": {"BACKEND": MEMORY, "PREFIX": "site1/", "OPTIONS": {"name": "visitors"}},
    }
    for store in map(stores.__getitem__, settings.PERSIST):
        store.clear()


def run_checks() -> list[checks.CheckMessage]:
    return checks.run_checks(tags=["django_persist"])


@pytest.mark.parametrize("alias", [None, "default", "visitors"])
def test_persist_session_store_setting(settings: Any, alias: str | None) -> None:
    if alias is not None:
        settings.PERSIST_SESSION_STORE = alias
    assert run_checks() == []
    session = SessionStore()
    session["a"] = 1
    session.save()
    named = {name: stores[name].count("sessions:") for name in stores}
    assert named == {"default": 0, "visitors": 0, alias or "default": 1}
    assert SessionStore(session.session_key)["a"] == 1


@pytest.mark.parametrize(
    ("alias", "hint"),
    [
        ("visitor", "Did you mean 'visitors'? Known are 'default', 'visitors'."),
        ("", "Known are 'default', 'visitors'."),
        (None, "Known are 'default', 'visitors'."),
        (["default"], "Did you mean 'default'? Known are 'default', 'visitors'."),
    ],
)
def test_unknown_store_is_refused(settings: Any, alias: Any, hint: str) -> None:
    settings.PERSIST_SESSION_STORE = alias
    [error] = run_checks()
    assert error.id == "django_persist.E014"
    assert error.hint == hint
    message = f"PERSIST_SESSION_STORE is {alias!r}, which is not a store of PERSIST."
    assert error.msg == message
    for call in (
        lambda: SessionStore("x" * 32).load(),
        lambda: SessionStore().save(),
        SessionStore.clear_expired,
    ):
        with pytest.raises(ImproperlyConfigured) as raised:
            call()
        assert str(raised.value) == f"{message} {hint}"


def test_invalid_persist_setting_is_reported_once(settings: Any) -> None:
    settings.PERSIST = {}
    assert [error.id for error in run_checks()] == ["django_persist.E001"]
