"""A table of entries that its owner has partitioned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_persist import Store, stores
from django_persist.exceptions import DuplicateKeyError
from tests.aliases import alias, another, migrate
from tests.conftest import DATABASE, leave_expired

CREATE = "CREATE DATABASE partitioned"
DROP = "DROP DATABASE partitioned"
TABLE = "django_persist_entry"
PARTITION = (
    f"ALTER TABLE {TABLE} RENAME TO whole",
    f"CREATE TABLE {TABLE} (LIKE whole, PRIMARY KEY (key)) PARTITION BY HASH (key)",
    *(
        f"CREATE TABLE part_{n} PARTITION OF {TABLE} FOR VALUES WITH (MODULUS 4, REMAINDER {n})"
        for n in range(4)
    ),
    f"CREATE INDEX ON {TABLE} (expires_at)",
    "DROP TABLE whole",
)


@pytest.fixture
def store(open_store: Callable[..., Store], settings: Any) -> Iterator[Store]:
    open_store("postgresql")
    run("postgresql", CREATE)
    try:
        with alias("partitioned", another("postgresql", NAME="partitioned")) as name:
            migrate(name)
            run(name, *PARTITION)
            settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": {"using": name}}}
            yield stores["default"]
    finally:
        run("postgresql", DROP)


def run(using: str, *statements: str) -> None:
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_purge_keeps_live_rows_at_the_same_address_in_other_partitions(store: Store) -> None:
    live = {f"live:{n}": n for n in range(1000)}
    store.set_many(live)
    leave_expired(store, {f"expired:{n}": n for n in range(1000)})
    assert store.purge(batch_size=100) == 1000
    assert store.get_many(live) == live


def test_calls_work_on_a_partitioned_table(store: Store) -> None:
    store.create("a", 1)
    with pytest.raises(DuplicateKeyError):
        store.create("a", 2)
    assert store.incr("a") == 2
    store.set_many({f"key:{n:04}": n for n in range(1500)})
    assert list(store.keys("key:")) == [f"key:{n:04}" for n in range(1500)]
    assert store.pop("a") == 2
    assert store.clear() == 1500
