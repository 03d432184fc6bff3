"""For the tests of a project: its stores in memory, and empty."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.test.utils import TestContextDecorator, override_settings

from .conf import DEFAULT_ALIAS, setting
from .drivers.base import Place
from .drivers.memory import MemoryDriver
from .handler import stores
from .memory import Memory
from .store import Store

__all__ = ["override_persist"]

Case = TypeVar("Case", bound=unittest.TestCase)


class OwnMemoryDriver(MemoryDriver):
    """A memory driver over a memory of its own, which goes when nobody has it any more."""

    def __init__(self, memory: Memory) -> None:
        super().__init__("override_persist")
        self.memory = memory

    def place(self) -> Place:
        return Place(("own memory", id(self.memory)), self.prefix)


def persist_in_memory(*aliases: str, copied: bool = False) -> dict[str, Any]:
    """Return PERSIST with an empty memory in the place of each store, or of those named.

    With `copied` one that is in such a memory already gets a copy of it.
    """
    persist = dict(setting())
    for alias in aliases or tuple(persist):
        # What is no mapping is left for the store to refuse.
        if isinstance(config := persist.get(alias), Mapping):
            memory = config.get("OPTIONS", {}).get("memory") if copied else None
            options = {"memory": memory.copy() if isinstance(memory, Memory) else Memory()}
            backend = f"{__name__}.{OwnMemoryDriver.__qualname__}"
            persist[alias] = {**config, "BACKEND": backend, "OPTIONS": options}
    return persist


class override_persist(TestContextDecorator):  # noqa: N801 (it is written like override_settings)
    """Put an empty store in memory in the place of each store of PERSIST, or of those named.

    A context manager, which hands out the store "default", and a decorator of functions, async
    functions, methods, and subclasses of `unittest.TestCase`: there each test has stores of its
    own, with what `setUpClass` and `setUpTestData` have stored. PREFIX, DEFAULT_EXPIRES and
    MAX_VALUE_BYTES are as in PERSIST. Like `override_settings` it is for all threads.

    Raises InvalidStoreError for an alias that PERSIST doesn't have, and where PERSIST is unfit.
    """

    _copied = False

    def __init__(self, *aliases: str) -> None:
        super().__init__()
        if not all(isinstance(alias, str) for alias in aliases):
            raise TypeError(
                "override_persist takes aliases of PERSIST; a decorator is written with "
                "parentheses, @override_persist()."
            )
        self._aliases = aliases
        self._enabled: list[override_settings] = []

    # django-stubs has what one of Django's own subclasses hands out.
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
                "override_persist decorates functions and subclasses of unittest.TestCase; for "
                "other classes pytest has the fixture `persist` of django_persist.pytest_plugin."
            )
        set_up_class = _method(cls, "setUpClass")

        def setUpClass(inner: type[Case]) -> None:
            inner.enterClassContext(override_persist(*self._aliases))
            set_up_class(inner)

        setattr(cls, "setUpClass", classmethod(setUpClass))  # noqa: B010
        # Not setUp: a subclass may have its own, without a call of this one.
        for name in ("run", "debug"):
            within = _OverrideForTest(*self._aliases)
            setattr(cls, name, within.decorate_callable(_method(cls, name)))
        return cls


class _OverrideForTest(override_persist):
    """Begins with what the class has stored."""

    _copied = True


def _method(cls: type, name: str) -> Callable[..., Any]:
    """Return a function that does what the method of `cls` does, whatever replaces it there."""
    own = cls.__dict__.get(name)

    def method(inner: Any, *args: Any, **kwargs: Any) -> Any:
        if own is None:
            bound = getattr(super(cls, inner), name)
        else:
            bound = own.__get__(None, inner) if isinstance(inner, type) else own.__get__(inner)
        return bound(*args, **kwargs)

    return method
