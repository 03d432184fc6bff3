"""Every call of the driver, for tests of failures. `prepare` stores the entries that they need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import redis

from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import StoreUnavailableError

MINUTE = timedelta(minutes=1)
MOMENT = datetime(2100, 1, 1, tzinfo=UTC)
MANY = [f"many{i}" for i in range(1_100)]


class Call(NamedTuple):
    run: Callable[[RedisDriver], Any]
    writes: bool = True
    commands: int = 1
    """How many commands it sends before it reads the first reply."""


def prepare(driver: RedisDriver) -> None:
    """Store the entries that the calls need, and remove the key that they create."""
    driver.remove("new")
    driver.set_many([(key, b"1", None) for key in ["k", *MANY]])


def replace(driver: RedisDriver, expires: Any, *, keep: bool) -> bool:
    return driver.replace("k", b"1", b'"secret"', expires, keep=keep)


def set_many(driver: RedisDriver, expires: Any, *, keep: bool) -> None:
    driver.set_many([(key, b'"secret"', expires) for key in MANY], keep=keep)


def create_many(driver: RedisDriver, expires: Any) -> list[str]:
    return driver.create_many([(key, b'"secret"', expires) for key in ["new", *MANY]])


READS: dict[str, Call] = {
    "get": Call(lambda driver: driver.get("k"), writes=False),
    "get_item": Call(lambda driver: driver.get_item("k"), writes=False),
    "contains": Call(lambda driver: driver.contains("k"), writes=False),
    "get_many": Call(lambda driver: dict(driver.get_many(MANY)), writes=False, commands=2),
    "get_items": Call(lambda driver: driver.get_items(MANY), writes=False, commands=11),
    "keys": Call(lambda driver: list(driver.keys("")), writes=False),
    "items": Call(lambda driver: list(driver.items("")), writes=False),
    "count": Call(lambda driver: driver.count(""), writes=False),
}
STORING: dict[str, Call] = {
    "create": Call(lambda driver: driver.create("new", b'"secret"', MINUTE)),
    "create, moment": Call(lambda driver: driver.create("new", b'"secret"', MOMENT)),
    "set": Call(lambda driver: driver.set("k", b'"secret"', MINUTE)),
    "set, keep": Call(lambda driver: driver.set("k", b'"secret"', None, keep=True)),
    "set, keep or a lifetime": Call(
        lambda driver: driver.set("k", b'"secret"', MINUTE, keep=True),
    ),
    "set, moment": Call(lambda driver: driver.set("k", b'"secret"', MOMENT)),
    "incr": Call(lambda driver: driver.incr("k", 1, None)),
    "incr, lifetime": Call(lambda driver: driver.incr("k", 1, MINUTE)),
    "incr_with_ttl": Call(lambda driver: driver.incr_with_ttl("k", 1, MINUTE)),
    "advance": Call(lambda driver: driver.advance("new", MINUTE, MINUTE)),
    "replace": Call(lambda driver: replace(driver, MINUTE, keep=False)),
    "replace, keep": Call(lambda driver: replace(driver, MINUTE, keep=True)),
    "set_many": Call(lambda driver: set_many(driver, MINUTE, keep=False)),
    "set_many, keep": Call(lambda driver: set_many(driver, None, keep=True)),
    "create_many": Call(lambda driver: create_many(driver, MINUTE)),
    "create_many, moment": Call(lambda driver: create_many(driver, MOMENT)),
}
OTHER_WRITES: dict[str, Call] = {
    "touch": Call(lambda driver: driver.touch("k", MINUTE)),
    "touch, moment": Call(lambda driver: driver.touch("k", MOMENT)),
    "touch, never": Call(lambda driver: driver.touch("k", None)),
    "remove": Call(lambda driver: driver.remove("k")),
    "remove_if": Call(lambda driver: driver.remove_if("k", b"1")),
    "remove_many": Call(lambda driver: driver.remove_many(MANY), commands=2),
}
WRITES = STORING | OTHER_WRITES
CALLS = READS | WRITES


def assert_refused(driver: RedisDriver, *names: str, match: str = "") -> None:
    """Make the calls: each must raise that the server refused it, and that nothing was done."""
    for name in names:
        with pytest.raises(StoreUnavailableError, match=match) as caught:
            CALLS[name].run(driver)
        assert not caught.value.maybe_applied, name
        assert isinstance(caught.value.__cause__, redis.RedisError)
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"


def assert_unchanged(driver: RedisDriver) -> None:
    """The entries are as `prepare` stored them."""
    assert not driver.contains("new")
    assert driver.get_item("k") == (b"1", None)
    assert dict(driver.get_many(MANY)) == dict.fromkeys(MANY, b"1")
