"""What the direct ways of all databases have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import FunctionType
from typing import Any, Self, TypeAlias

from django.db.backends.utils import CursorWrapper

PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


class Direct(ABC):
    """An open connection that statements are sent to through the client library alone."""

    def __init__(self, connection: Any) -> None:
        self.raw = connection.connection

    @classmethod
    def on(cls, connection: Any) -> Self | None:
        """Return the direct way on a connection, which Django has wrapped; None if it has none."""
        return cls(connection) if cls.is_for(connection) else None

    @staticmethod
    @abstractmethod
    def is_for(connection: Any) -> bool:
        """Return whether nothing but Django and the client library stands before the server."""

    @abstractmethod
    def is_ready(self, inside: bool) -> bool:
        """Return whether the connection is in the state that Django believes it to be in.

        `inside` says whether that is a transaction.
        """

    @abstractmethod
    def execute(self, statement: str, params: Mapping[str, Any]) -> Executed:
        """Run a statement, and return what it did.

        Raises the errors of the client library. What else ends it, such as a signal's exception,
        leaves a connection that has no answer to read, or is closed.
        """

    def release(self, executed: Any) -> None:  # noqa: B027 (most have read all of it)
        """Free what a statement holds until it is read."""


class NoRows:
    """What a statement did that returned no rows.

    What a cursor says of it is asked of the client library, only where a call wants to know.
    `source` is the library's object that knows it.
    """

    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    @property
    def rowcount(self) -> int:
        raise NotImplementedError

    @property
    def lastrowid(self) -> int:
        raise NotImplementedError


Executed: TypeAlias = CursorWrapper | NoRows
"""What a statement leaves to read, whichever way it took. It may also be its rows themselves."""

Values: TypeAlias = Callable[[Mapping[str, Any]], Sequence[Any]]
"""Returns the values of parameters in the order of their placeholders."""


def parameter_names(statement: str) -> list[str]:
    """Return the names of a statement's parameters in the order of their placeholders."""
    return [name for name in PLACEHOLDER.findall(statement) if name]


def replace_placeholders(statement: str, replace: Callable[[str], str]) -> str:
    """Return a statement with `replace(name)` for the placeholder of each parameter."""
    return PLACEHOLDER.sub(lambda match: replace(match[1]) if match[1] else "%", statement)


def values_of(names: Sequence[str]) -> Values:
    """Return a function that returns the values of the parameters with these names."""
    if len(names) > 1:
        return itemgetter(*names)
    if names:
        [name] = names
        return lambda params: (params[name],)
    return lambda params: ()


def is_of_django(method: Any) -> bool:
    """Return whether a method is Django's own: one that replaces it may have its name."""
    return type(method) is FunctionType and method.__globals__["__name__"].startswith("django.")
