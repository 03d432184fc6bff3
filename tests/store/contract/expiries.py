"""What `expires` and the defaults mean, for every call."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from django_persist import DEFAULT, KEEP, Item, Store
from django_persist.contract.base import MakeStore
from django_persist.contract.lifetimes import WRITES, Write, expires_at, in_an_hour
from django_persist.exceptions import InvalidExpiryError
from django_persist.expiry import LAST_MOMENT, LONGEST
from tests.store.contract.base import Contract

HOUR = timedelta(hours=1)
INVALID: dict[str, Any] = {
    "zero": 0,
    "negative": -1,
    "negative timedelta": timedelta(seconds=-1),
    "nan": float("nan"),
    "infinite": float("inf"),
    "naive": datetime(2999, 1, 1),
    "too long": LONGEST + timedelta(days=1),
    "too late": LAST_MOMENT + timedelta(microseconds=1),
}


class ExpiriesContract(Contract):
    """What `expires` and the defaults mean, for every call."""

    @pytest.mark.parametrize("expires", INVALID.values(), ids=INVALID)
    @pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
    def test_an_invalid_expiry_is_refused(self, uncalled: Store, call: Write, expires: Any) -> None:
        with pytest.raises(InvalidExpiryError):
            call(uncalled, "new", expires)

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.create("new", 1, expires=KEEP),
            lambda store: store.touch("a", KEEP),
            lambda store: store.incr("n", expires=KEEP),
            lambda store: store.get_or_create("new", 1, expires=KEEP),
        ],
        ids=["create", "touch", "incr", "get_or_create"],
    )
    def test_keep_is_refused_if_there_is_no_expiry_to_keep(
        self, uncalled: Store, call: Any
    ) -> None:
        with pytest.raises(TypeError, match="KEEP is only for set, set_many, replace and update"):
            call(uncalled)

    @pytest.mark.parametrize("expires", [HOUR, 3600, 3600.0], ids=repr)
    def test_a_lifetime_can_be_seconds(self, store: Store, expires: timedelta | float) -> None:
        before = datetime.now(UTC)
        store.set("a", 1, expires=expires)
        moment = expires_at(store)
        assert moment is not None
        assert before <= moment - HOUR <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "zone",
        [
            UTC,
            ZoneInfo("Europe/Berlin"),
            timezone(timedelta(hours=-11)),
            ZoneInfo("Asia/Kathmandu"),
        ],
        ids=str,
    )
    def test_a_moment_can_be_in_any_zone(self, store: Store, zone: ZoneInfo | timezone) -> None:
        moment = (datetime.now(UTC) + HOUR).replace(microsecond=123_000)
        store.create("a", 1, expires=moment.astimezone(zone))
        kept = expires_at(store)
        assert kept == moment
        assert kept.tzinfo is UTC

    def test_both_moments_of_an_hour_that_comes_twice_are_kept(self, store: Store) -> None:
        zone = ZoneInfo("Europe/Berlin")
        first = datetime(2098, 10, 26, 2, 30, tzinfo=zone)
        second = first.replace(fold=1)
        store.set("a", 1, expires=first)
        store.set("b", 1, expires=second)
        assert expires_at(store, "a") == datetime(2098, 10, 26, 0, 30, tzinfo=UTC)
        assert expires_at(store, "b") == datetime(2098, 10, 26, 1, 30, tzinfo=UTC)

    @pytest.mark.parametrize("expires", [{}, {"expires": DEFAULT}, {"expires": None}], ids=repr)
    def test_without_a_default_an_entry_never_expires(
        self, store: Store, expires: dict[str, Any]
    ) -> None:
        store.set("a", 1, expires=HOUR)
        store.set("a", 2, **expires)
        assert store.get_item("a") == Item(2, None)

    def test_set_without_expires_gives_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=HOUR)
        store.set("a", 1, expires=60)
        store.set("a", 2)
        assert in_an_hour(expires_at(store))
        store.set("a", 2, expires=None)
        assert expires_at(store) is None

    def test_every_call_that_begins_an_entry_gives_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=3600)
        store.create("create", 1)
        store.set("set", 1)
        store.set("set KEEP", 1, expires=KEEP)
        store.set_many({"set_many": 1})
        store.set_many({"set_many KEEP": 1}, expires=KEEP)
        store.get_or_create("get_or_create", 1)
        store.update("update", str, "1")
        store.update("update DEFAULT", str, "1", expires=DEFAULT)
        store.incr("incr")
        store.namespace("n").set("namespace", 1)
        found = {key: item.expires_at for key, item in store.items()}
        assert len(found) == 10
        assert all(map(in_an_hour, found.values())), found

    def test_none_means_never_in_spite_of_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=3600)
        store.create("create", 1, expires=None)
        store.set("set", 1, expires=None)
        store.set_many({"set_many": 1}, expires=None)
        store.get_or_create("get_or_create", 1, expires=None)
        store.update("update", str, "1", expires=None)
        store.incr("incr", expires=None)
        assert {key: item.expires_at for key, item in store.items()} == dict.fromkeys(
            ["create", "set", "set_many", "get_or_create", "update", "incr"]
        )

    def test_touch_without_an_argument_gives_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        store.set("a", 1, expires=None)
        assert store.touch("a") is True
        item = store.get_item("a")
        assert item is not None
        assert item.ttl is not None
        assert timedelta(seconds=55) < item.ttl <= timedelta(seconds=60)

    @pytest.mark.parametrize("expires", [3600, HOUR, DEFAULT], ids=repr)
    def test_update_can_give_a_new_expiry(self, make_store: MakeStore, expires: Any) -> None:
        store = make_store(default_expires=HOUR)
        for key, old in (("a", 60), ("b", None)):
            store.set(key, 1, expires=old)
            store.update(key, lambda old: old, expires=expires)
            assert in_an_hour(expires_at(store, key))
        store.update("a", lambda old: old, expires=None)
        assert expires_at(store) is None

    def test_a_counter_keeps_the_expiry_that_it_has(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=3600)
        store.incr("a")
        assert in_an_hour(expires_at(store))
        store.touch("a", None)
        store.incr("a")
        assert store.get_item("a") == Item(2, None)

    def test_ttl_is_the_time_left(self, store: Store) -> None:
        with time_machine.travel(time.time(), tick=False) as clock:
            store.set("a", 1, expires=HOUR)
            item = store.get_item("a")
            assert item is not None
            assert item.ttl == HOUR
            clock.shift(0.25)
            assert item.ttl == HOUR - timedelta(seconds=0.25)

    def test_ttl_is_never_negative(self) -> None:
        assert Item(1, datetime(2020, 1, 1, tzinfo=UTC)).ttl == timedelta(0)
