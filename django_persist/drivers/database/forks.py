"""A forked child opens connections of its own, and leaves those of its parent alone.

Parent and child share an inherited connection's socket. If the child used it, each would read the
other's replies. If the child closed it, or only let Python free it, some libraries would tell the
server to end the session (mysqlclient sends COM_QUIT), and the parent's next call would fail.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .connection import reset_state

_aliases: set[str] = set()
_wrappers: set[ref[BaseDatabaseWrapper]] = set()
"""The connections of all threads, as Django wraps them."""
_inherited: list[Any] = []
"""What must never be freed in a child."""


def watch(alias: str) -> None:
    """From now on, give each forked child connections of its own to an alias of DATABASES."""
    _aliases.add(alias)


def _note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    _wrappers.add(ref(connection, _wrappers.discard))


def _before() -> None:
    # In the child, Python frees what belongs to the parent's other threads before _in_child runs.
    # list() copies a set in one step, so other threads may open connections meanwhile.
    found = [wrapper for each in list(_wrappers) if (wrapper := each()) is not None]
    found += connections.all(initialized_only=True)
    _inherited.append([(wrapper, wrapper.connection) for wrapper in found])


def _in_parent() -> None:
    _inherited.pop()


def _in_child() -> None:
    for wrapper, _ in _inherited[-1]:
        if wrapper.alias in _aliases and not _is_in_memory(wrapper):
            _forget(wrapper)


def _is_in_memory(wrapper: BaseDatabaseWrapper) -> bool:
    # The child's copy of such a database is whole, and there is no other way to it.
    return wrapper.vendor == "sqlite" and wrapper.is_in_memory_db()  # type: ignore[attr-defined]


def _forget(wrapper: Any) -> None:
    """Make a wrapper what it was before it connected, without touching its connection."""
    wrapper.connection = None
    reset_state(wrapper)
    # psycopg's pool works by threads, and the child has none of them.
    pools = getattr(wrapper, "_connection_pools", {})
    if wrapper.alias in pools:
        _inherited.append(pools.pop(wrapper.alias))


connection_created.connect(_note)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
