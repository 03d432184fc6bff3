"""The system checks: errors in PERSIST, and what the drivers report about their servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from .conf import load, session_alias, setting
from .drivers.base import Driver
from .exceptions import InvalidStoreError
from .store import Store

# By name: a check must not load what the project doesn't use.
MIDDLEWARE: Final = "django_persist.middleware.PersistMiddleware"
ENGINE: Final = "django_persist.sessions"


@register("django_persist")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report what would make `stores` raise, and what the drivers can check without I/O."""
    stores, errors = _load()
    return [*map(_to_message, errors), *_messages(stores, lambda driver: driver.check())]


@register("django_persist")
def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    """Report a PERSIST_SESSION_STORE that doesn't name a store, if sessions are in a store."""
    if not hasattr(settings, "PERSIST_SESSION_STORE") or not _are_sessions_ours():
        return []
    try:
        session_alias()
    except InvalidStoreError as error:
        # check_settings has reported the errors of PERSIST itself.
        return [_to_message(error)] if error.id == "django_persist.E014" else []
    return []


@register("django_persist")
def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """Warn if no middleware sets `request.persist`."""
    if any(_is_middleware(path) for path in settings.MIDDLEWARE):
        return []
    return [
        Warning(
            "MIDDLEWARE has no PersistMiddleware, so requests have no `persist`.",
            hint=f"Add {MIDDLEWARE!r} to it. If your views don't use request.persist, add this "
            "check to SILENCED_SYSTEM_CHECKS.",
            id="django_persist.W011",
        )
    ]


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
    in_memory = [
        Warning(
            f"PERSIST[{alias!r}] is in memory: each process has its own entries, and loses them "
            "when it ends.",
            hint="Use another driver if there is more than one process, or if entries must "
            "survive a restart.",
            id="django_persist.W002",
        )
        for alias, store in stores.items()
        if not store.driver.supports_several_processes
    ]
    return [*in_memory, *_messages(stores, lambda driver: driver.check_deployment())]


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


def _is_middleware(path: str) -> bool:
    """Return whether a path of MIDDLEWARE is our class, or a subclass of it."""
    if path == MIDDLEWARE:
        return True
    try:
        middleware = import_string(path)
    except ImportError:
        return False  # Django reports it when it loads the middleware.
    return isinstance(middleware, type) and MIDDLEWARE in map(_path, middleware.__mro__)


def _are_sessions_ours() -> bool:
    """Return whether SESSION_ENGINE is our engine, or based on it."""
    if settings.SESSION_ENGINE == ENGINE:
        return True
    try:
        engine = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    except ImportError:
        return False
    return f"{ENGINE}.SessionStore" in map(_path, engine.__mro__)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


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
