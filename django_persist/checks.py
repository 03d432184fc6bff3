"""The system checks: what is wrong in PERSIST, and what the drivers say of their servers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register

from .exceptions import InvalidStoreError
from .handler import load, setting


@register("django_persist")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report all that would make `stores` raise, and what can be told without a connection."""
    try:
        made, errors = load(setting())
    except InvalidStoreError as error:
        made, errors = {}, [error]
    messages: list[CheckMessage] = [
        Error(error.message, hint=error.hint or None, id=error.id) for error in errors
    ]
    for store in made.values():
        messages.extend(store.driver.check(databases=None))
    return messages


@register("django_persist", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what is unfit for a site that others use."""
    return _told_by_drivers(databases=(), deploy=True)


@register(Tags.database)
def check_databases(databases: Collection[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report what the servers of `databases` tell."""
    return _told_by_drivers(databases=databases) if databases else []


def _told_by_drivers(**kwargs: Any) -> list[CheckMessage]:
    try:
        made, _ = load(setting())
    except InvalidStoreError:
        return []
    return [message for store in made.values() for message in store.driver.check(**kwargs)]
