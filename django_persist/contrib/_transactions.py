"""What must not be undone by a rollback: it stands outside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..store import Store


def refuse_transaction(store: Store, what: str) -> None:
    """Raise ImproperlyConfigured if a write now would join a transaction of the caller's.

    The transactions around a test of Django's TestCase don't count. `what` begins the message.
    """
    if _in_transaction(store):
        raise ImproperlyConfigured(
            f"{what} must stand outside the transaction: a rollback would undo it, and others "
            "would not see it before the commit. Call it before the transaction begins, take the "
            "view out of ATOMIC_REQUESTS (transaction.non_atomic_requests), or use a store on "
            "Redis or on another alias of DATABASES."
        )


def _in_transaction(store: Store) -> bool:
    if not store.driver.in_transaction():
        return False
    using = getattr(store.driver, "using", None)
    blocks: Sequence[Any] = connections[using].atomic_blocks if using is not None else ()
    # Without a block, autocommit is off. Django's own `durable` looks at the same attribute.
    return not blocks or not all(block._from_testcase for block in blocks)
