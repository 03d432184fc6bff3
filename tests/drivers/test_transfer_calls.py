"""The driver methods that transfers use: many entries with their expiries, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from django_persist import Store, stores
from django_persist.drivers.base import Driver
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import ContentionError, InvalidExpiryError
from tests import aliases
from tests.conftest import BACKENDS, DATABASE_SERVERS, OpenStore
from tests.processes import PROCESSES, race

MANY = 2500


class Plain(MemoryDriver):
    """A driver with only the inherited methods, as a third-party driver may have."""

    create_many = Driver.create_many
    get_items = Driver.get_items


@pytest.fixture(params=[*BACKENDS, "plain"])
def driver(request: pytest.FixtureRequest, open_store: OpenStore) -> Driver:
    if request.param == "plain":
        plain = f"{__name__}.Plain"
        return open_store("memory", BACKEND=plain).driver
    return open_store(request.param).driver


def text(driver: Driver, key: str) -> bytes | None:
    found = driver.get(key)
    return found.encode() if isinstance(found, str) else found


def test_create_many_stores_absent_keys_and_returns_the_others(driver: Driver) -> None:
    driver.set("b", b"1", timedelta(hours=1))
    before = driver.get_item("b")
    assert driver.create_many([("c", b"2", None), ("b", b"2", None)]) == ["b"]
    assert driver.create_many([("a", b"3", timedelta(hours=1))]) == []
    assert driver.get_item("b") == before
    assert (text(driver, "a"), text(driver, "c")) == (b"3", b"2")
    assert driver.create_many([]) == []
    same = [("c", b"2", None)]
    assert driver.create_many(same) == ["c"]


def test_create_many_overwrites_expired_entries(
    driver: Driver, elapse: Callable[[Store, float], None]
) -> None:
    driver.set("old", b"1", timedelta(milliseconds=50))
    elapse(stores["default"], 0.1)
    assert driver.create_many([("old", b"2", None), ("new", b"2", None)]) == []
    assert driver.get_items(["old", "new", "none"]).keys() == {"old", "new"}
    item = driver.get_item("old")
    assert item and item.expires_at is None


def test_create_many_takes_many(driver: Driver) -> None:
    writes = [(f"key:{n}", b"%d" % n, None) for n in range(MANY)]
    assert driver.create_many(writes[::2]) == []
    left = driver.create_many([(key, b"-1", None) for key, _, _ in writes])
    assert sorted(left) == sorted(key for key, _, _ in writes[::2])
    assert text(driver, "key:100") == b"100"
    assert text(driver, "key:101") == b"-1"


def test_create_many_refuses_an_expiry_in_the_past(driver: Driver) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    writes = [("a", b"1", None), ("b", b"1", past), ("c", b"1", None)]
    with pytest.raises(InvalidExpiryError):
        driver.create_many(writes)
    if not isinstance(driver, Plain):
        assert list(driver.keys("")) == []


def test_get_items_returns_values_and_expiries(driver: Driver) -> None:
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    driver.set_many([(f"key:{n}", b"%d" % n, tomorrow if n % 2 else None) for n in range(MANY)])
    found = driver.get_items([f"key:{n}" for n in range(MANY + 10)])
    assert {key: (int(value), expires_at) for key, (value, expires_at) in found.items()} == {
        f"key:{n}": (n, tomorrow if n % 2 else None) for n in range(MANY)
    }
    assert driver.get_items([]) == {}


def test_clock_is_the_one_that_expires_entries(driver: Driver) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert before < driver.clock() < before + timedelta(seconds=3)


# Concurrency.


def create(i: int) -> set[str]:
    keys = [f"key:{n}" for n in range(300)]
    order = keys if i % 2 else keys[::-1]
    driver = stores["default"].driver
    created = set()
    for start in range(0, 300, 50):
        part = order[start : start + 50]
        left = driver.create_many([(key, b"%d" % i, None) for key in part])
        created |= set(part).difference(left)
    return created


def test_of_many_processes_one_creates_each_entry(shared_store: Store) -> None:
    for _ in range(3):
        shared_store.clear()
        created = race(create)
        assert sum(map(len, created)) == 300
        values = shared_store.get_many([f"key:{n}" for n in range(300)])
        assert values == {key: i for i in range(PROCESSES) for key in created[i]}


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("database", DATABASE_SERVERS)
def test_create_many_keeps_an_entry_newer_than_the_snapshot(
    open_store: OpenStore, database: str, level: str
) -> None:
    outside = open_store(database).driver
    with aliases.alias("at_level", aliases.at_level(database, level)):
        inside = DatabaseDriver("at_level")
        with suppress(ContentionError), transaction.atomic("at_level"):
            assert inside.get("key") is None
            outside.set("key", b"1", None)
            writes = [("key", b"2", None), ("new", b"2", None)]
            assert inside.create_many(writes) == ["key"]
    assert text(outside, "key") == b"1"


def test_create_many_joins_the_transaction_of_the_caller(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    database_store.set("there", 1)
    with transaction.atomic(using):
        assert database_store.driver.create_many([("there", b"2", None), ("new", b"2", None)]) == [
            "there"
        ]
        transaction.set_rollback(True, using)
    assert list(database_store.keys()) == ["there"]
