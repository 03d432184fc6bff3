"""The statements of MariaDB and MySQL make no warnings, such as of syntax that will be removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from django_persist import KEEP, REMOVE, Store
from django_persist.exceptions import CounterRangeError
from tests.conftest import MYSQLS, leave_expired

MINUTE = timedelta(minutes=1)


def start_beyond_its_bounds(store: Store) -> None:
    with pytest.raises(CounterRangeError):
        store.incr("never started", 5, at_most=4)


CALLS: tuple[Callable[[Store], Any], ...] = (
    lambda store: store.create("new", 1),
    lambda store: store.create("expired:1", 1),
    lambda store: store.get_or_create("there", 1),
    lambda store: store.set("there", "text"),
    lambda store: store.set("there", 2, expires=KEEP),
    lambda store: store.set_many({"a": 1, "there": 2}),
    lambda store: store.set_many({"a": 1, "there": 2}, expires=KEEP),
    lambda store: store.driver.create_many([("a", b"1", None), ("b", b"1", None)]),
    lambda store: store.get("there"),
    lambda store: store.get_item("there"),
    lambda store: "there" in store,
    lambda store: store.get_many(["there", "missing"]),
    lambda store: store.driver.get_items(["there", "missing"]),
    lambda store: store.touch("there", 60),
    lambda store: store.incr("new counter"),
    lambda store: store.incr("new counter", -5),
    lambda store: store.incr("expired:2"),
    lambda store: store.update("there", lambda value: [value]),
    lambda store: store.update("there", lambda value: [value], expires=60),
    lambda store: store.update("there", lambda value: REMOVE),
    lambda store: store.driver.incr("text", 1, None),
    lambda store: store.driver.incr("huge", 1, None),
    lambda store: store.driver.incr_with_ttl("new counter", 1, MINUTE),
    # From nothing, moved, refused; expired; in the past; what is no time.
    *3 * (lambda store: store.driver.advance("time", MINUTE, 2 * MINUTE),),
    lambda store: store.driver.advance("expired:3", MINUTE, MINUTE),
    lambda store: store.driver.advance("there", MINUTE, MINUTE),
    lambda store: store.driver.advance("text", MINUTE, MINUTE),
    lambda store: list(store.keys()),
    lambda store: list(store.items()),
    lambda store: store.count(),
    lambda store: store.driver.expired(),
    lambda store: store.driver.size(),
    lambda store: store.purge(batch_size=2),
    start_beyond_its_bounds,
    lambda store: store.pop("a"),
    lambda store: store.remove("b"),
    lambda store: store.remove_many(["new", "missing"]),
    lambda store: store.clear(),
)


@pytest.mark.parametrize("database", MYSQLS)
def test_no_statement_makes_a_warning(
    database: str, database_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_KEYS", 2)
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_ITEMS", 2)
    driver: Any = database_store.driver
    leave_expired(database_store, {f"expired:{n}": n for n in range(9)})
    database_store.set_many({"there": 1, "text": "12x", "huge": 2**63 - 1})
    sent: list[str] = []
    warnings: list[Any] = []

    def watch(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        result = execute(sql, *more)
        sent.append(sql)
        warnings.extend(
            (sql, warning) for warning in connections[database].connection.show_warnings()
        )
        return result

    with connections[database].execute_wrapper(watch):
        for call in CALLS:
            call(database_store)
    assert warnings == []
    unsent = {
        name
        for name, statement in vars(driver.sql).items()
        if isinstance(statement, str)
        and not any(each.startswith(statement.partition("%(rows)s")[0]) for each in sent)
    }
    # They differ from statements that were sent only in FOR UPDATE.
    assert unsent <= {"get_for_update", "get_items_for_update", "live_keys_for_update"}
