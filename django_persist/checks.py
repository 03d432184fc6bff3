"""The system checks: errors in PERSIST, and what the drivers report about their servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils.module_loading import import_string

from .conf import load, session_alias, setting
from .drivers.base import Driver
from .exceptions import InvalidStoreError
from .store import Store


@register("django_persist")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report what would make `stores` raise, and what the drivers can check without I/O."""
    stores, errors = _load()
    return [*map(_to_message, errors), *_messages(stores, lambda driver: driver.check())]


@register("django_persist")
def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    """Report a PERSIST_SESSION_STORE that doesn't name a store."""
    try:
        session_alias()
    except InvalidStoreError as error:
        # check_settings has reported the errors of PERSIST itself.
        return [_to_message(error)] if error.id == "django_persist.E014" else []
    return []


@register("django_persist")
def check_caches(**kwargs: Any) -> list[CheckMessage]:
    """Report aliases of CACHES over a store that can't be used."""
    messages: list[CheckMessage] = []
    for alias, config in settings.CACHES.items():
        backend = None
        # A backend that can't be imported is reported by whatever uses the alias.
        with suppress(ImportError, AttributeError, LookupError, TypeError, ValueError):
            backend = import_string(config["BACKEND"])
        # Not isinstance(): that would load PersistCache in every project.
        messages += getattr(backend, "check_alias", lambda alias: ())(alias)
    return messages


@register("django_persist", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what should not be deployed (`check --deploy`)."""
    stores, _ = _load()
    return _messages(stores, lambda driver: driver.check_deployment())


@register(Tags.database)
def check_databases(databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report what the drivers find when they ask the servers of `databases`."""
    stores, _ = _load()
    return _messages(stores, lambda driver: driver.check_databases(databases or ()))


def _load() -> tuple[dict[str, Store], list[InvalidStoreError]]:
    """Return the stores that can be made, and the errors of the others."""
    try:
        return load(setting())
    except InvalidStoreError as error:
        return {}, [error]


def _to_message(error: InvalidStoreError) -> CheckMessage:
    return Error(error.message, hint=error.hint or None, id=error.id)


def _messages(
    stores: dict[str, Store], ask: Callable[[Driver], Iterable[CheckMessage]]
) -> list[CheckMessage]:
    """Return the drivers' messages, each once: two stores may share an alias of DATABASES."""
    messages: list[CheckMessage] = []
    for store in stores.values():
        messages += (message for message in ask(store.driver) if message not in messages)
    return messages
