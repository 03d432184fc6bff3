"""For the tests of a project: empty stores in memory, and requests that have `persist`."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory
from django.test.utils import TestContextDecorator, override_settings

from .conf import DEFAULT_ALIAS, setting
from .drivers.base import Place
from .drivers.memory import MemoryDriver
from .handler import stores
from .memory import Memory
from .store import Store

if TYPE_CHECKING:
    from .http import HttpRequest

__all__ = ["PersistRequestFactory", "override_persist"]

Case = TypeVar("Case", bound=unittest.TestCase)


class PersistRequestFactory(RequestFactory):
    """Django's RequestFactory, whose requests have `persist`, although they pass no middleware."""

    def request(self, **request: Any) -> WSGIRequest:
        made = super().request(**request)
        cast("HttpRequest", made).persist = stores[DEFAULT_ALIAS]
        return made


class OwnMemoryDriver(MemoryDriver):
    """A memory driver with its own memory, which is freed together with the driver."""

    def __init__(self, memory: Memory) -> None:
        super().__init__("override_persist")
        self.memory = memory

    def place(self) -> Place:
        return Place(("own memory", id(self.memory)), self.prefix)


def persist_in_memory(*aliases: str, copied: bool = False) -> dict[str, Any]:
    """Return PERSIST with empty memory instead of each store, or instead of the named stores.

    With `copied`, a store that already has such a memory gets a copy of it instead.
    """
    persist = dict(setting())
    for alias in aliases or tuple(persist):
        # Anything but a mapping is kept. It is reported when the stores are loaded.
        if isinstance(config := persist.get(alias), Mapping):
            memory = config.get("OPTIONS", {}).get("memory") if copied else None
            options = {"memory": memory.copy() if isinstance(memory, Memory) else Memory()}
            backend = f"{__name__}.{OwnMemoryDriver.__qualname__}"
            persist[alias] = {**config, "BACKEND": backend, "OPTIONS": options}
    return persist


class override_persist(TestContextDecorator):  # noqa: N801 (named like override_settings)
    """Replace each store of PERSIST, or the named stores, by an empty store in memory.

    It is a context manager, which returns the store "default", and a decorator for functions, async
    functions, methods, and subclasses of `unittest.TestCase`. On a class, each test has its own
    stores, with the entries that `setUpClass` and `setUpTestData` stored. PREFIX, DEFAULT_EXPIRES
    and MAX_VALUE_BYTES stay as in PERSIST. Like `override_settings` it affects all threads.

    Raises InvalidStoreError if PERSIST is invalid or doesn't have one of the aliases.
    """

    _copied = False

    def __init__(self, *aliases: str) -> None:
        super().__init__()
        if not all(isinstance(alias, str) for alias in aliases):
            raise TypeError(
                "override_persist takes aliases of PERSIST. As a decorator it needs parentheses: "
                "@override_persist()."
            )
        self._aliases = aliases
        self._enabled: list[override_settings] = []

    # django-stubs declares what one of Django's own subclasses returns.
    def __enter__(self) -> Store:  # type: ignore[override]
        return self.enable()

    def enable(self) -> Store:
        override = override_settings(PERSIST=persist_in_memory(*self._aliases, copied=self._copied))
        override.enable()
        self._enabled.append(override)
        try:
            for alias in self._aliases:
                stores[alias]
            return stores[DEFAULT_ALIAS]
        except BaseException:
            self.disable()
            raise

    def disable(self) -> None:
        self._enabled.pop().disable()

    def decorate_class(self, cls: type[Case]) -> type[Case]:
        if not issubclass(cls, unittest.TestCase):
            raise TypeError(
                "override_persist decorates functions and subclasses of unittest.TestCase. For "
                "other classes use pytest and the fixture `persist` of "
                "django_persist.pytest_plugin."
            )
        set_up_class = _method(cls, "setUpClass")

        def setUpClass(inner: type[Case]) -> None:
            inner.enterClassContext(override_persist(*self._aliases))
            set_up_class(inner)

        methods: dict[str, Any] = {"setUpClass": classmethod(setUpClass)}
        # Not setUp, because a subclass may define its own without calling this one.
        for name in ("run", "debug"):
            override = _OverrideForTest(*self._aliases)
            methods[name] = override.decorate_callable(_method(cls, name))
        for name, method in methods.items():
            setattr(cls, name, method)
        return cls


class _OverrideForTest(override_persist):
    """Starts with the entries that the class has stored."""

    _copied = True


def _method(cls: type, name: str) -> Callable[..., Any]:
    """Return a function that calls the current method of `cls`, even after it is replaced."""
    own = cls.__dict__.get(name)

    def method(inner: Any, *args: Any, **kwargs: Any) -> Any:
        if own is None:
            bound = getattr(super(cls, inner), name)
        else:
            bound = own.__get__(None, inner) if isinstance(inner, type) else own.__get__(inner)
        return bound(*args, **kwargs)

    return method
