"""Parameters that PostgreSQL binds; otherwise psycopg writes them into the statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_persist import Store, stores
from tests.aliases import alias, another
from tests.conftest import DATABASE, leave_expired


def test_calls_work_with_server_side_binding(
    open_store: Callable[..., Store], settings: Any
) -> None:
    open_store("postgresql")
    options = {**another("postgresql")["OPTIONS"], "server_side_binding": True}
    with alias("bound", another("postgresql", OPTIONS=options)) as name:
        settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": name}}}
        store = stores["default"]
        live = {f"key:{n:04}": n for n in range(1500)}
        store.set_many(live, expires=60)
        leave_expired(store, {f"expired:{n}": n for n in range(150)})
        assert list(store.keys("key:")) == list(live)
        assert {key: item.value for key, item in store.items()} == live
        assert store.count() == 1500
        assert store.incr("key:0001", 2) == 3
        assert store.purge(batch_size=100) == 150
        assert store.remove_many(["key:0000", "expired:1"]) == 1
        assert store.clear() == 1499
