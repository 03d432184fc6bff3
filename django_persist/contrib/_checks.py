"""The system check for views whose decorators can't stand outside the request's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, get_resolver

from ..exceptions import InvalidStoreError
from ..handler import stores
from ..store import Store
from ._transactions import alias_of
from ._views import FIX, Decoration, ViewDecorator, atomic_aliases, name_of

THROTTLE_FIX: Final = (
    "Give the throttle a `store` that is elsewhere: in Redis, or in the database by another alias "
    "of DATABASES (the driver's option `using`; not on SQLite, which has one writer). Or put "
    "@transaction.non_atomic_requests on the view, or a RateLimit around it in place of the "
    "throttle."
)

MOST_CALLABLES: Final = 1000
"""How many callables to follow from one view, before giving up."""


def check_views() -> list[CheckMessage]:
    """Report the views in URLs that a ViewDecorator can't protect."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    messages: list[CheckMessage] = []
    for callback in callbacks(get_resolver().url_patterns):
        errors = [*_errors(callback), *_throttle_errors(callback)]
        messages += (error for error in errors if error not in messages)
    return messages


def callbacks(patterns: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    """Yield the view of each URL pattern."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from callbacks(pattern.url_patterns)


def _errors(callback: Any) -> Iterator[CheckMessage]:
    outside = getattr(callback, "_non_atomic_requests", ())
    visible = getattr(callback, "_persist_decorations", ())
    view = view_class(callback) or callback
    is_drf = hasattr(view, "initialize_request")
    on_dispatch = [*visible, *_decorations_of(view.dispatch)] if is_drf else []
    for decoration in _decorations(callback):
        decorator = decoration.decorator
        if iscoroutinefunction(callback):
            yield _error(f"{decorator.label} decorates {name_of(view)}, which is async.")
        elif is_drf and not decorator.works_in_drf and decoration not in on_dispatch:
            yield _error(decorator.inside_drf(view))
        else:
            # Where Django can't see the decorator, only the project's own aliases are left out.
            left_out = outside if decoration in visible else list(outside)
            for alias in atomic_aliases():
                if alias not in left_out and _stands_outside(decorator, alias):
                    yield _error(decorator.inside(view, f"{alias!r}, by its ATOMIC_REQUESTS"))


def _throttle_errors(callback: Any) -> Iterator[CheckMessage]:
    """Yield the errors of a view of DRF whose PersistThrottle can't count outside a transaction."""
    cls = view_class(callback)
    settings = getattr(callback, "initkwargs", {})
    throttles = settings.get("throttle_classes", getattr(cls, "throttle_classes", ()))
    if not throttles:
        return
    from .rest import IdempotencyMixin, PersistThrottle  # only where DRF is installed

    if issubclass(cls, IdempotencyMixin):
        return  # DRF throttles before the transaction begins.
    opted_out = list(getattr(callback, "_non_atomic_requests", ()))
    scope = settings.get("throttle_scope", getattr(cls, "throttle_scope", None))
    view = SimpleNamespace(throttle_scope=scope)
    for throttle in throttles:
        if not (isinstance(throttle, type) and issubclass(throttle, PersistThrottle)):
            continue
        for alias in atomic_aliases():
            if alias not in opted_out and alias == _store_alias(throttle.store):
                yield _error(
                    f"{name_of(throttle)} throttles {name_of(cls)} inside a transaction of "
                    f"{alias!r}, by its ATOMIC_REQUESTS: a rollback would undo the count.",
                    hint=THROTTLE_FIX,
                )
        try:
            throttle().get_limit(None, view)
        except ImproperlyConfigured as error:
            yield _error(f"{name_of(cls)} can't be throttled: {error}", hint=None)


def _store_alias(store: Store | None) -> str | None:
    try:
        return alias_of(store or stores["default"])
    except InvalidStoreError:
        return None  # check_settings reports it.


def _error(message: str, hint: str | None = FIX) -> CheckMessage:
    return Error(message, hint=hint, id="django_persist.E015")


def _stands_outside(decorator: ViewDecorator, alias: str) -> bool:
    try:
        return decorator.stands_outside(alias, decorator.store or stores["default"])
    except InvalidStoreError:
        return False  # check_settings reports it.


def view_class(callback: Any) -> Any:
    """Return the class of a class-based view or of one of DRF's; None for a function."""
    return getattr(callback, "view_class", None) or getattr(callback, "cls", None)


def _decorations(callback: Any) -> list[Decoration]:
    """Return the decorations of a view, also of its class's methods, and hidden in either."""
    found = _decorations_of(callback)
    cls = view_class(callback)
    if cls is not None:
        names = {"dispatch", *cls.http_method_names, *getattr(callback, "actions", {}).values()}
        for each in cls.__mro__:
            for name in sorted(names & vars(each).keys()):
                found += _decorations_of(vars(each)[name])
    return list(dict.fromkeys(found))


def _decorations_of(start: Any) -> list[Decoration]:
    """Return the decorations of a function and of those that it can be seen to call."""
    found: list[Decoration] = []
    seen: set[int] = set()
    waiting = [start]
    while waiting and len(seen) < MOST_CALLABLES:
        function = waiting.pop()
        if id(function) in seen or isinstance(function, type) or not callable(function):
            continue
        seen.add(id(function))
        attributes = getattr(function, "__dict__", {})
        found += attributes.get("_persist_decorations", ())
        waiting += [*attributes.values(), *_closure(function), getattr(function, "func", None)]
    return found


def _closure(function: Any) -> Iterator[Any]:
    """Yield what a function has in its closure."""
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # It has nothing in it.
            yield cell.cell_contents
