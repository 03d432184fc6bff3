"""What a rollback must not undo stands outside the project's transactions."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..drivers.database.connection import in_transaction
from ..drivers.database.driver import DatabaseDriver
from ..store import Store


def alias_of(store: Store) -> str | None:
    """Return the alias of DATABASES in whose transactions the store takes part, or None."""
    return store.driver.using if isinstance(store.driver, DatabaseDriver) else None


def in_transaction_of_project(alias: str) -> bool:
    """Return whether a transaction is open, other than those of Django's TestCase."""
    connection: Any = connections[alias]
    if connection.atomic_blocks:
        return not all(block._from_testcase for block in connection.atomic_blocks)
    return in_transaction(connection)


def refuse_transaction(store: Store, call: str) -> None:
    """Raise ImproperlyConfigured if a write now would join a transaction of the project's."""
    alias = alias_of(store)
    if store.driver.in_transaction() if alias is None else in_transaction_of_project(alias):
        raise ImproperlyConfigured(
            f"{call} is called inside a transaction of {repr(alias) if alias else 'the store'}: "
            "a rollback would undo what it stores. Call it outside, for example in a view with "
            "@transaction.non_atomic_requests, or use a store on Redis or, except on SQLite, on "
            "another alias of DATABASES."
        )
