"""What only the database driver has: statements, transactions, and limits of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_persist import KEEP, Store, stores
from django_persist.drivers.database.driver import PAGE_KEYS
from django_persist.drivers.database.statements.mysql import KEY_BYTES
from django_persist.drivers.database.statements.rows import CHUNK_BYTES, CHUNK_KEYS
from django_persist.exceptions import DuplicateKeyError, ValueTooLargeError
from django_persist.models import Entry
from tests.conftest import MYSQLS, leave_expired
from tests.drivers.database.test_plans import EXPLAIN

HOUR = timedelta(hours=1)

ONE_STATEMENT: dict[str, Callable[[Store], Any]] = {
    "create": lambda store: store.create("new", 1),
    "create over expired": lambda store: store.create("expired", 1),
    "set": lambda store: store.set("there", 2, expires=60),
    "set, keeping": lambda store: store.set("there", 2, expires=KEEP),
    "get": lambda store: store.get("there"),
    "get_item": lambda store: store.get_item("there"),
    "contains": lambda store: "there" in store,
    "remove": lambda store: store.remove("there"),
    "touch": lambda store: store.touch("there", 60),
    "incr": lambda store: store.incr("there"),
    "incr from nothing": lambda store: store.incr("new", expires=60),
    "advance": lambda store: store.driver.advance("there", HOUR, HOUR),
    "advance from nothing": lambda store: store.driver.advance("new", HOUR, HOUR),
    "advance over expired": lambda store: store.driver.advance("expired", HOUR, HOUR),
    "advance, refused": lambda store: store.driver.advance("far", HOUR, HOUR),
    "get_many": lambda store: store.get_many(map(str, range(CHUNK_KEYS))),
    "set_many": lambda store: store.set_many({str(i): i for i in range(CHUNK_KEYS)}),
    "remove_many": lambda store: store.remove_many(map(str, range(CHUNK_KEYS))),
    "count": lambda store: store.count(),
}


def using(store: Store) -> str:
    return str(store.driver.using)  # type: ignore[attr-defined]


@pytest.mark.parametrize("call", ONE_STATEMENT.values(), ids=ONE_STATEMENT)
def test_a_call_is_one_statement(
    call: Callable[[Store], Any], database_store: Store, elapse: Callable[[Store, float], None]
) -> None:
    database_store.set_many({"there": 1, "far": 10**17})
    database_store.set("expired", 1, expires=1)
    elapse(database_store, 2)
    with CaptureQueriesContext(connections[using(database_store)]) as queries:
        call(database_store)
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_many_keys_take_a_statement_for_each_chunk(database_store: Store) -> None:
    database_store.count()  # the first call on MariaDB reads max_allowed_packet
    keys = [f"key:{i}" for i in range(2 * CHUNK_KEYS + 1)]
    with CaptureQueriesContext(connections[using(database_store)]) as queries:
        assert database_store.get_many(keys) == {}
    assert len(queries) == 3


def test_large_values_are_written_in_chunks_of_bytes(database_store: Store) -> None:
    values = {f"key:{i}": "x" * (CHUNK_BYTES // 2 - 10) for i in range(6)}
    with CaptureQueriesContext(connections[using(database_store)]) as queries:
        database_store.set_many(values)
    # Nothing is sent to SQLite, which has no limit.
    expected = 1 if connections[using(database_store)].vendor == "sqlite" else 3
    assert len([query for query in queries if "INSERT" in query["sql"]]) == expected
    assert database_store.get_many(values) == values


def test_a_duplicate_leaves_the_transaction_usable(database_store: Store) -> None:
    database_store.set("there", 1)
    with transaction.atomic(using(database_store)):
        database_store.set("before", 1)
        with pytest.raises(DuplicateKeyError):
            database_store.create("there", 2)
        database_store.set("after", 1)
    assert sorted(database_store.keys()) == ["after", "before", "there"]


def test_a_rollback_undoes_every_write(database_store: Store) -> None:
    database_store.set("kept", 1, expires=60)
    database_store.set("counter", 1)
    before = dict(database_store.items())
    with transaction.atomic(using(database_store)):
        database_store.create("created", 1)
        database_store.set("kept", 2)
        database_store.touch("kept", None)
        database_store.incr("counter")
        database_store.pop("counter")
        database_store.set_many({str(i): i for i in range(2 * CHUNK_KEYS)})
        transaction.set_rollback(True, using(database_store))
    assert dict(database_store.items()) == before


def test_a_failed_chunk_undoes_those_before_it(database_store: Store) -> None:
    """This calls the driver: a store would refuse the key before anything is sent."""
    writes = [(f"key:{i:05}", b"1", None) for i in range(CHUNK_KEYS + 1)]
    writes[-1] = ("key:lone surrogate \ud800", b"1", None)
    with pytest.raises((UnicodeEncodeError, ValueError)):
        database_store.driver.set_many(writes)
    assert database_store.count() == 0


def test_reads_see_the_transaction_s_own_writes(database_store: Store) -> None:
    with transaction.atomic(using(database_store)):
        database_store.set("key", [1])
        assert database_store.update("key", lambda value: [*value, 2]) == [1, 2]
        assert database_store.get("key") == [1, 2]
        assert database_store.pop("key") == [1, 2]
        assert "key" not in database_store


@pytest.mark.parametrize(
    "statement", ["get", "get_many", "remove", "remove_if", "keys_next", "count"]
)
def test_statements_use_the_primary_key(database_store: Store, statement: str) -> None:
    database_store.set_many({f"key:{i:05}": i for i in range(5000)})
    connection = connections[using(database_store)]
    sql = database_store.driver.sql  # type: ignore[attr-defined]
    params = {
        "key": "key:00001",
        "seen": "1",
        "now": 0,
        "first": "key:00001",
        "end": "key:00003",
        "keys": sql.keys_parameter(["key:00001", "key:00002"]),
        "limit": 10,
    }
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ANALYZE {Entry._meta.db_table}")
        cursor.execute(f"{EXPLAIN[connection.vendor]} {getattr(sql, statement)}", params)
        plan = str(cursor.fetchall())
    key_index = {
        "sqlite": "sqlite_autoindex_django_persist_entry_1",
        "postgresql": "django_persist_entry_pkey",
        "mysql": "PRIMARY",
    }
    assert key_index[connection.vendor] in plan, plan


@pytest.mark.parametrize("database", MYSQLS)
def test_a_value_past_max_allowed_packet_is_refused_before_it_is_sent(
    database: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(database)
    packet = store.driver.sql.packet  # type: ignore[attr-defined]
    fits, escaped = "x" * (packet - 10_000), '"' * (packet // 4)
    store.set("fits", fits)
    stored = store.get_item("fits")
    assert stored is not None and stored.value == fits
    for value in (fits + "x" * 10_000, escaped):
        for write in (store.set, store.create):
            with pytest.raises(ValueTooLargeError, match="max_allowed_packet"):
                write("large", value)
        with pytest.raises(ValueTooLargeError):
            store.set_many({"small": 1, "large": value})
    # It sends the value that it replaces, too.
    with pytest.raises(ValueTooLargeError, match="max_allowed_packet"):
        store.replace("fits", fits, stored.version)
    assert store.replace("fits", "small", stored.version)
    assert list(store.keys()) == ["fits"]


def test_an_unknown_alias_is_rejected(settings: Any) -> None:
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.database.DatabaseDriver",
            "OPTIONS": {"using": "nowhere"},
        }
    }
    with pytest.raises(ImproperlyConfigured, match="DATABASES has no 'nowhere'"):
        stores["default"]


@pytest.mark.parametrize("call", ["keys", "items"])
def test_a_listing_is_lazy(database_store: Store, call: str) -> None:
    database_store.set_many({f"k{i}": i for i in range(PAGE_KEYS + 1)})
    with CaptureQueriesContext(connections[using(database_store)]) as queries:
        listing = getattr(database_store, call)()
        assert len(queries) == 0
        next(listing)
        assert len(queries) == 1


@pytest.mark.parametrize("database", MYSQLS)
def test_a_batch_of_a_purge_fits_into_a_packet(
    database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_expired(database_store, {f"k{i}": i for i in range(10)})
    driver: Any = database_store.driver
    monkeypatch.setattr(driver.sql, "packet", 3 * KEY_BYTES)
    assert max(driver.purge(1000)) == 3
    assert driver.expired() == 0


@pytest.fixture
def unordered_reversed(django_db_blocker: Any) -> Iterator[None]:
    """Have SQLite return rows in reverse where a statement doesn't ask for an order."""
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA reverse_unordered_selects = ON")
        yield
        cursor.execute("PRAGMA reverse_unordered_selects = OFF")


@pytest.mark.parametrize("call", ["keys", "items"])
def test_pages_of_a_listing_are_in_order_because_the_statement_says_so(
    open_store: Callable[..., Store], unordered_reversed: None, call: str
) -> None:
    """The planner reads them in order as it is, by the index of the primary key."""
    store = open_store("sqlite")
    keys = [f"key:{i:05}" for i in range(PAGE_KEYS + 10)]
    store.set_many(dict.fromkeys(keys, 1), expires=60)
    listed = [found if call == "keys" else found[0] for found in getattr(store, call)()]
    assert listed == keys
