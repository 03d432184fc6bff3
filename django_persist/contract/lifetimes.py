"""What `expires` does to an entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ..exceptions import InvalidExpiryError
from ..expiry import DEFAULT, KEEP, LAST_MOMENT, LONGEST
from ..store import Item, Store
from .base import Contract, Elapse, MakeStore

SOON = 0.02
LATER = 0.03
HOUR = timedelta(hours=1)


def ends(store: Store, key: str = "a") -> datetime | None:
    item = store.get_item(key)
    assert item is not None
    return item.expires_at


def in_an_hour(moment: datetime | None) -> bool:
    """Return whether a moment is an hour from now, as far as a test can tell."""
    assert moment is not None
    return abs(moment - datetime.now(UTC) - HOUR) < timedelta(minutes=1)


BAD: dict[str, Any] = {
    "zero": 0,
    "negative": -1,
    "negative timedelta": timedelta(seconds=-1),
    "nan": float("nan"),
    "infinite": float("inf"),
    "naive": datetime(2999, 1, 1),
    "past": datetime(2020, 1, 1, tzinfo=UTC),
    "too long": LONGEST + timedelta(days=1),
}


class LifetimesContract(Contract):
    """What `expires` does to an entry."""

    @pytest.mark.parametrize(
        "expires", [HOUR, 3600, 3600.0, timedelta(microseconds=3_599_999_999)], ids=repr
    )
    def test_a_lifetime_counts_from_the_call(
        self, store: Store, expires: timedelta | float
    ) -> None:
        lifetime = expires if isinstance(expires, timedelta) else timedelta(seconds=expires)
        before = datetime.now(UTC)
        store.set("a", 1, expires=expires)
        after = datetime.now(UTC)
        moment = ends(store)
        assert moment is not None
        # Redis keeps whole milliseconds.
        assert before - timedelta(milliseconds=1) <= moment - lifetime
        assert moment - lifetime <= after + timedelta(milliseconds=1)

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
    def test_a_moment_is_kept_to_the_millisecond_whatever_its_zone(
        self, store: Store, zone: ZoneInfo | timezone
    ) -> None:
        moment = (datetime.now(UTC) + HOUR).replace(microsecond=123_000)
        store.create("a", 1, expires=moment.astimezone(zone))
        kept = ends(store)
        assert kept == moment
        assert kept.tzinfo is UTC

    def test_both_moments_of_the_hour_that_comes_twice_are_kept(self, store: Store) -> None:
        zone = ZoneInfo("Europe/Berlin")
        first = datetime(2098, 10, 26, 2, 30, tzinfo=zone)
        second = first.replace(fold=1)
        store.set("a", 1, expires=first)
        store.set("b", 1, expires=second)
        assert ends(store, "a") == datetime(2098, 10, 26, 0, 30, tzinfo=UTC)
        assert ends(store, "b") == datetime(2098, 10, 26, 1, 30, tzinfo=UTC)

    def test_the_longest_lifetime_and_the_last_moment_can_be_stored(self, store: Store) -> None:
        store.set("a", 1, expires=LONGEST)
        moment = ends(store)
        assert moment is not None
        assert moment.year > 3000
        store.set("a", 1, expires=LAST_MOMENT)
        assert ends(store) == LAST_MOMENT

    def test_an_entry_without_an_expiry_has_none(self, store: Store) -> None:
        store.set("a", 1)
        item = store.get_item("a")
        assert item == Item(1, None)
        assert item.ttl is None

    def test_ttl_is_the_time_left(self, store: Store, elapse: Elapse) -> None:
        store.set("a", 1, expires=HOUR)
        item = store.get_item("a")
        assert item is not None
        first = item.ttl
        elapse(0.02)
        second = item.ttl
        assert first is not None
        assert second is not None
        assert timedelta(minutes=59) < second <= first - timedelta(milliseconds=20)

    @pytest.mark.parametrize("expires", BAD.values(), ids=BAD)
    @pytest.mark.parametrize(
        "call",
        [
            lambda store, key, expires: store.create(key, "new", expires=expires),
            lambda store, key, expires: store.set(key, "new", expires=expires),
            lambda store, key, expires: store.touch(key, expires),
            lambda store, key, expires: store.update(key, str, "new", expires=expires),
            lambda store, key, expires: store.set_many({"z": 1, key: "new"}, expires=expires),
        ],
        ids=["create", "set", "touch", "update", "set_many"],
    )
    def test_an_unfit_expiry_is_refused_and_nothing_is_changed(
        self, store: Store, call: Callable[[Store, str, Any], object], expires: Any
    ) -> None:
        store.set("a", "old", expires=LAST_MOMENT)
        for key in ("new", "a"):
            with pytest.raises(InvalidExpiryError):
                call(store, key, expires)
        assert dict(store.items()) == {"a": Item("old", LAST_MOMENT)}

    @pytest.mark.parametrize("call", ["incr", "get_or_create"])
    @pytest.mark.parametrize("expires", BAD.values(), ids=BAD)
    def test_no_entry_is_begun_with_an_unfit_expiry(
        self, store: Store, call: str, expires: Any
    ) -> None:
        with pytest.raises(InvalidExpiryError):
            getattr(store, call)("a", 1, expires=expires)
        assert "a" not in store

    @pytest.mark.parametrize("expires", [{}, {"expires": DEFAULT}, {"expires": None}], ids=repr)
    def test_set_without_expires_takes_an_earlier_expiry_away(
        self, store: Store, expires: dict[str, Any]
    ) -> None:
        store.set("a", 1, expires=HOUR)
        store.set("a", 2, **expires)
        assert store.get_item("a") == Item(2, None)

    def test_set_without_expires_gives_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=HOUR)
        store.set("a", 1, expires=60)
        store.set("a", 2)
        assert in_an_hour(ends(store))
        store.set("a", 2, expires=None)
        assert ends(store) is None

    @pytest.mark.parametrize(
        "expires", [HOUR, LAST_MOMENT, None], ids=["lifetime", "moment", "never"]
    )
    def test_keep_leaves_a_live_entrys_expiry(
        self, make_store: MakeStore, expires: timedelta | datetime | None
    ) -> None:
        store = make_store(default_expires=60)
        store.set("a", 1, expires=expires)
        before = ends(store)
        store.set("a", 2, expires=KEEP)
        assert store.get_item("a") == Item(2, before)
        store.set_many({"a": 3}, expires=KEEP)
        assert store.get_item("a") == Item(3, before)

    @pytest.mark.parametrize("default", [None, HOUR], ids=["never", "an hour"])
    @pytest.mark.parametrize("past", [False, True], ids=["missing", "expired"])
    def test_keep_gives_the_default_where_no_live_entry_is(
        self, make_store: MakeStore, elapse: Elapse, default: timedelta | None, past: bool
    ) -> None:
        store = make_store(default_expires=default)
        if past:
            store.set_many({"a": 1, "b": 1}, expires=SOON)
            elapse(LATER)
        store.set("a", 2, expires=KEEP)
        store.set_many({"b": 3}, expires=KEEP)
        assert (store.get("a"), store.get("b")) == (2, 3)
        for key in ("a", "b"):
            moment = ends(store, key)
            assert moment is None if default is None else in_an_hour(moment)

    def test_default_expires_counts_for_every_call_that_begins_an_entry(
        self, make_store: MakeStore
    ) -> None:
        store = make_store(default_expires=3600)
        store.create("create", 1)
        store.set("set", 1)
        store.set_many({"set_many": 1})
        store.get_or_create("get_or_create", 1)
        store.update("update", str, "1")
        store.incr("incr")
        store.namespace("n").set("namespace", 1)
        found = dict(store.items())
        assert len(found) == 7
        assert all(in_an_hour(item.expires_at) for item in found.values())

    def test_none_says_never_in_spite_of_the_default(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=3600)
        store.create("create", 1, expires=None)
        store.set("set", 1, expires=None)
        store.set_many({"set_many": 1}, expires=None)
        store.get_or_create("get_or_create", 1, expires=None)
        store.update("update", str, "1", expires=None)
        store.incr("incr", expires=None)
        found = dict(store.items())
        assert len(found) == 6
        assert all(item.expires_at is None for item in found.values())

    def test_ttl_is_never_negative(self) -> None:
        assert Item(1, datetime(2020, 1, 1, tzinfo=UTC)).ttl == timedelta(0)
