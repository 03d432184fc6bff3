"""What `expires` does to an entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ..exceptions import InvalidExpiryError
from ..expiry import KEEP, LAST_MOMENT, LONGEST
from ..store import Item, Store
from .base import Contract, Elapse, MakeStore, outcome

SOON = 0.02
LATER = 0.03
HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)
PAST = datetime(2020, 1, 1, tzinfo=UTC)

Write = Callable[[Store, str, Any], object]

# The calls that write one entry with an expiry.
WRITES: dict[str, Write] = {
    "create": lambda store, key, expires: store.create(key, "new", expires=expires),
    "set": lambda store, key, expires: store.set(key, "new", expires=expires),
    "touch": lambda store, key, expires: store.touch(key, expires),
    "update": lambda store, key, expires: store.update(key, str, "new", expires=expires),
    "set_many": lambda store, key, expires: store.set_many({"z": 1, key: "new"}, expires=expires),
    "get_or_create": lambda store, key, expires: store.get_or_create(key, 1, expires=expires),
    "incr": lambda store, key, expires: store.incr(key, expires=expires),
    "incr in bounds": lambda store, key, expires: store.incr(key, expires=expires, at_most=9),
    "create_many": lambda store, key, expires: store.create_many({key: "new"}, expires=expires),
}
OVERWRITES = ("set", "touch", "update", "set_many")


def written(store: Store, expires: Any) -> dict[str, datetime | None]:
    """Give `expires` to new and existing entries by each call; return when each expires."""
    store.set_many({f"over by {name}": 1 for name in OVERWRITES}, expires=60)
    store.set_many({f"over by {name}, never": 1 for name in OVERWRITES})
    store.set("new by touch", 1)
    for name, write in WRITES.items():
        write(store, f"new by {name}", expires)
    for name in OVERWRITES:
        WRITES[name](store, f"over by {name}", expires)
        WRITES[name](store, f"over by {name}, never", expires)
    return {key: item.expires_at for key, item in store.items()}


def expires_at(store: Store, key: str = "a") -> datetime | None:
    item = store.get_item(key)
    assert item is not None
    return item.expires_at


def in_an_hour(moment: datetime | None) -> bool:
    """Return whether a moment is about an hour from now."""
    return moment is not None and abs(moment - datetime.now(UTC) - HOUR) < timedelta(minutes=1)


class LifetimesContract(Contract):
    """What `expires` does to an entry."""

    @pytest.mark.parametrize("lifetime", [HOUR, timedelta(microseconds=3_599_999_999)], ids=str)
    def test_a_lifetime_counts_from_the_call(self, store: Store, lifetime: timedelta) -> None:
        before = datetime.now(UTC)
        found = written(store, lifetime)
        after = datetime.now(UTC)
        for name, moment in found.items():
            assert moment is not None, name
            # Redis keeps whole milliseconds.
            assert before - MILLISECOND <= moment - lifetime <= after + MILLISECOND, name

    def test_a_moment_is_kept_to_the_millisecond(self, store: Store) -> None:
        moment = (datetime.now(UTC) + HOUR).replace(microsecond=123_000)
        for name, kept in written(store, moment).items():
            assert kept == moment, name
            assert kept.tzinfo is UTC, name
        assert expires_at(store, "new by create") == moment

    def test_the_longest_lifetime_and_the_last_moment_can_be_stored(self, store: Store) -> None:
        for name, moment in written(store, LONGEST).items():
            assert moment is not None, name
            assert moment.year > 3000, name
        store.clear()
        assert set(written(store, LAST_MOMENT).values()) == {LAST_MOMENT}
        assert expires_at(store, "new by create") == LAST_MOMENT

    def test_an_entry_without_an_expiry_has_none(self, store: Store) -> None:
        for name, moment in written(store, None).items():
            assert moment is None, name
        assert store.get_item("new by set") == Item("new", None)

    def test_a_past_moment_is_refused_and_nothing_is_changed(self, store: Store) -> None:
        live = {f"live for {name}": "old" for name in WRITES}
        store.set_many(live, expires=LAST_MOMENT)
        for name, write in WRITES.items():
            error = outcome(write, store, f"new by {name}", PAST)
            assert isinstance(error, InvalidExpiryError), name
            if name not in ("get_or_create", "incr", "incr in bounds"):
                # Those need an expiry only for a new entry.
                error = outcome(write, store, f"live for {name}", PAST)
                assert isinstance(error, InvalidExpiryError), f"{name} of a live entry"
        assert dict(store.items()) == {key: Item("old", LAST_MOMENT) for key in live}

    def test_set_without_expires_takes_an_earlier_expiry_away(self, store: Store) -> None:
        store.set_many({"a": 1, "b": 1}, expires=HOUR)
        store.set("a", 2)
        store.set_many({"b": 2})
        assert dict(store.items()) == {"a": Item(2, None), "b": Item(2, None)}

    def test_keep_leaves_a_live_entrys_expiry(self, make_store: MakeStore) -> None:
        store = make_store(default_expires=60)
        for expires in (HOUR, LAST_MOMENT, None):
            store.set("a", 1, expires=expires)
            before = expires_at(store)
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
            moment = expires_at(store, key)
            assert moment is None if default is None else in_an_hour(moment)
