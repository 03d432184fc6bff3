"""The system checks: what is wrong in PERSIST, and what the drivers say of their servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register

from .conf import load, session_alias, setting
from .drivers.base import Driver
from .exceptions import InvalidStoreError
from .store import Store


@register("django_persist")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report all that would make `stores` raise, and what can be told without a connection."""
    made, errors = _load()
    return [*map(_wrong, errors), *_told(made, lambda driver: driver.check())]


@register("django_persist")
def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    """Report a PERSIST_SESSION_STORE that names no store."""
    try:
        session_alias()
    except InvalidStoreError as error:
        # What is wrong in PERSIST itself has been reported.
        return [_wrong(error)] if error.id == "django_persist.E014" else []
    return []


@register("django_persist", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what is unfit for a site that others use."""
    made, _ = _load()
    return _told(made, lambda driver: driver.check_deployment())


@register(Tags.database)
def check_databases(databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report what the servers of `databases` tell."""
    made, _ = _load()
    return _told(made, lambda driver: driver.check_databases(databases or ()))


def _load() -> tuple[dict[str, Store], list[InvalidStoreError]]:
    """Return the stores that can be made, and what is wrong with the others."""
    try:
        return load(setting())
    except InvalidStoreError as error:
        return {}, [error]


def _wrong(error: InvalidStoreError) -> CheckMessage:
    return Error(error.message, hint=error.hint or None, id=error.id)


def _told(
    made: dict[str, Store], ask: Callable[[Driver], Iterable[CheckMessage]]
) -> list[CheckMessage]:
    """Return what the drivers say, once each: two stores may have one alias."""
    messages: list[CheckMessage] = []
    for store in made.values():
        messages += (message for message in ask(store.driver) if message not in messages)
    return messages
