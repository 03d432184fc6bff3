"""Decorators that stand around a view, outside the request's transaction.

With ATOMIC_REQUESTS, Django runs a view in a transaction. What a limit counts or an idempotency key
claims there would be rolled back with the view's work. So a ViewDecorator takes the view out of
that transaction, as `transaction.non_atomic_requests` does, does its own work first, and then runs
the view in transactions of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ClassVar, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django import http
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.http.response import HttpResponseBase

from ..http import HttpRequest
from ..store import Store
from ._transactions import alias_of, in_transaction_of_project

V = TypeVar("V", bound=Callable[..., Any])

FIX: Final = (
    "Decorate the view function, the class or its dispatch, not something that runs inside. "
    "A decorator or a dispatch outside it must keep the attributes of what it wraps "
    "(functools.wraps), or have @transaction.non_atomic_requests on top."
)


class Outside(set[str]):
    """The `_non_atomic_requests` of a decorated view: Django finds every alias in it.

    Its elements are the aliases for which the project itself wants no transaction. Those that
    `transaction.non_atomic_requests` adds later, from outside, are elements too.
    """

    def __contains__(self, alias: object) -> bool:
        return True


@dataclass(frozen=True)
class Call:
    """A call of the decorated view, in the transactions of these aliases, the first outermost."""

    view: Callable[[], HttpResponseBase]
    aliases: Sequence[str]
    api_view: Callable[[], Any]
    """Returns an instance of the view's class if it is one of DRF's, else None."""

    def __call__(self) -> HttpResponseBase:
        """Run the view in its transactions and return its response."""
        with self.atomic():
            return self.view()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Enter the view's transactions. The caller then runs `view`."""
        with ExitStack() as stack:
            for alias in self.aliases:
                stack.enter_context(transaction.atomic(alias))
            yield


class ViewDecorator(ABC):
    """Decorates a view function, a class-based view, its `dispatch`, or a view of DRF.

    For `dispatch`, use Django's `method_decorator(decorator, name="dispatch")`, or decorate the
    class itself. An `async def` view raises TypeError. A call inside a transaction of the store's
    database raises ImproperlyConfigured before anything is done. The transactions of Django's
    TestCase don't count.
    """

    store: Store | None = None
    """The store, instead of `request.persist`."""

    needs_every_alias: ClassVar[bool] = False
    """Whether it must also be outside the transactions of databases that the store isn't in.

    It then runs the view's transactions itself, so no other ViewDecorator may be inside it.
    """

    works_in_drf: ClassVar[bool] = True
    """Whether it can decorate what DRF calls with its own Request: a handler or an action."""

    @property
    def label(self) -> str:
        """How messages call it."""
        return type(self).__name__

    @abstractmethod
    def around(self, request: HttpRequest, call: Call) -> HttpResponseBase:
        """Answer a request. `call()` runs the view; it is called once or not at all."""

    def __call__(self, view: V) -> V:
        if not isinstance(view, type):
            return cast("V", self._decorate(view, request_at=0))
        if not hasattr(view, "dispatch"):
            raise TypeError(f"{view.__qualname__} is no view: it has no method dispatch.")
        self._refuse_async(view, view)
        view.dispatch = self._decorate(view.dispatch, request_at=1)
        return view

    def _decorate(self, view: Callable[..., Any], request_at: int) -> Callable[..., Any]:
        # method_decorator calls this at each request, with a partial of the bound method.
        instance = getattr(getattr(view, "func", None), "__self__", None)
        self._refuse_async(view, instance)
        known = getattr(view, "_non_atomic_requests", ())
        if self.needs_every_alias and isinstance(known, Outside):
            raise TypeError(
                f"{self.label} decorates {name_of(view)} outside another decorator of "
                f"django_persist.contrib. Let {self.label} be the innermost of them."
            )
        outside = known if isinstance(known, Outside) else Outside(known)
        outside.update(getattr(getattr(instance, "dispatch", None), "_non_atomic_requests", ()))

        @wraps(view)
        def wrapped(*args: Any, **kwargs: Any) -> HttpResponseBase:
            request: HttpRequest = args[request_at]
            store = self.store or request.persist
            # A ViewDecorator inside this one stands outside the same transactions.
            aliases = [] if known is outside else self._aliases(outside, store)
            self._refuse_inside(view, request, store)
            of = args[0] if request_at else instance
            api_view = partial(_api_view, of, view, args[request_at:], kwargs)
            return self.around(request, Call(partial(view, *args, **kwargs), aliases, api_view))

        attributes: Any = wrapped
        attributes._non_atomic_requests = outside
        marks = getattr(view, "_persist_decorations", ())
        attributes._persist_decorations = (Decoration(self), *marks)
        return wrapped

    def stands_outside(self, alias: str, store: Store) -> bool:
        """Return whether it must not run in a transaction of that alias of DATABASES."""
        return self.needs_every_alias or alias == alias_of(store)

    def _aliases(self, outside: Outside, store: Store) -> list[str]:
        """Return the aliases in whose transactions the view runs, the store's first."""
        opted_out, own = list(outside), alias_of(store)
        aliases = [alias for alias in atomic_aliases() if alias not in opted_out]
        return sorted(aliases, key=lambda alias: alias != own)

    def _refuse_async(self, view: Any, of: Any) -> None:
        if iscoroutinefunction(view) or getattr(of, "view_is_async", False):
            raise TypeError(f"{self.label} can't decorate {name_of(view)}: it is async.")

    def _refuse_inside(self, view: Any, request: HttpRequest, store: Store) -> None:
        if not self.works_in_drf and not isinstance(request, http.HttpRequest):
            raise ImproperlyConfigured(f"{self.inside_drf(view)} {FIX}")
        own = alias_of(store)
        if own is None and store.driver.in_transaction():
            raise ImproperlyConfigured(f"{self.inside(view, 'the store')} {FIX}")
        for alias in dict.fromkeys([*([own] if own else []), *atomic_aliases()]):
            if self.stands_outside(alias, store) and in_transaction_of_project(alias):
                raise ImproperlyConfigured(f"{self.inside(view, repr(alias))} {FIX}")

    def inside(self, view: Any, where: str) -> str:
        """Return the message for a view that runs in a transaction of `where`."""
        return (
            f"{self.label} decorates {name_of(view)} inside a transaction of {where}: "
            "a rollback would undo what it stores."
        )

    def inside_drf(self, view: Any) -> str:
        """Return the message for something that DRF calls, and whose response it finishes."""
        return (
            f"{self.label} decorates {name_of(view)} inside a view of DRF, where the "
            "response is not made yet."
        )


@dataclass(frozen=True, eq=False)
class Decoration:
    """The mark on a decorated view, by which the system check knows it."""

    decorator: ViewDecorator


def atomic_aliases() -> list[str]:
    """Return the aliases of DATABASES that have ATOMIC_REQUESTS."""
    return [alias for alias in connections if connections.settings[alias]["ATOMIC_REQUESTS"]]


def name_of(view: Any) -> str:
    """Return how messages call a view."""
    module, name = getattr(view, "__module__", ""), getattr(view, "__qualname__", repr(view))
    return f"{module}.{name}" if module else name


def _api_view(instance: Any, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the instance if it is a view of DRF's, or one for the function of such a view."""
    if instance is None and hasattr(view, "cls"):
        instance = view.cls(**view.initkwargs)
        instance.action_map = getattr(view, "actions", None)
        instance.setup(*args, **kwargs)
    return instance if hasattr(instance, "initialize_request") else None
