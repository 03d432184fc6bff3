"""An expired entry is the same as none, for every call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from ..exceptions import MissingKeyError
from ..expiry import KEEP
from ..store import REMOVE, Item, Store
from .base import Contract, Elapse

SOON = 0.02
LATER = 0.03
HOUR = timedelta(hours=1)

# A call for an entry that isn't there, and what it then returns. Each call that writes is tested by
# itself, as a driver may delete whatever has expired when it writes.
Absent = dict[str, tuple[Callable[[Store], Any], Any]]
READS: Absent = {
    "get": (lambda store: store.get("a", "none"), "none"),
    "get_item": (lambda store: store.get_item("a"), None),
    "contains": (lambda store: "a" in store, False),
    "get_many": (lambda store: store.get_many(["a", "b"]), {}),
    "keys": (lambda store: list(store.keys()), []),
    "keys of a prefix": (lambda store: list(store.keys("a")), []),
    "items": (lambda store: list(store.items()), []),
    "count": (lambda store: store.count(), 0),
}
ABSENT: dict[str, Absent] = {
    "reads": READS,
    "touch": {"touch": (lambda store: store.touch("a", 60), False)},
    "touch None": {"touch None": (lambda store: store.touch("a", None), False)},
    "remove": {"remove": (lambda store: store.remove("a"), False)},
    "remove_many": {"remove_many": (lambda store: store.remove_many(["a", "b"]), 0)},
    "pop": {"pop": (lambda store: store.pop("a", "none"), "none")},
    "clear": {"clear": (lambda store: store.clear(), 0)},
    "update REMOVE": {"update": (lambda store: store.update("a", lambda old: REMOVE, 1), None)},
}
BEGINNINGS: dict[str, tuple[Callable[[Store], object], timedelta | None]] = {
    "create": (lambda store: store.create("a", 5), None),
    "create, an hour": (lambda store: store.create("a", 5, expires=HOUR), HOUR),
    "set": (lambda store: store.set("a", 5), None),
    "set, an hour": (lambda store: store.set("a", 5, expires=HOUR), HOUR),
    "set KEEP": (lambda store: store.set("a", 5, expires=KEEP), None),
    "set_many": (lambda store: store.set_many({"a": 5}), None),
    "set_many, an hour": (lambda store: store.set_many({"a": 5}, expires=HOUR), HOUR),
    "set_many KEEP": (lambda store: store.set_many({"b": 6, "a": 5}, expires=KEEP), None),
    "update": (lambda store: store.update("a", lambda old: old + 1, 4), None),
    "incr": (lambda store: store.incr("a", 5), None),
    "incr, an hour": (lambda store: store.incr("a", 5, expires=HOUR), HOUR),
    "incr in bounds": (lambda store: store.incr("a", 5, at_least=0, at_most=9), None),
    "create_many": (lambda store: store.create_many({"a": 5}), None),
    "create_many, an hour": (lambda store: store.create_many({"a": 5}, expires=HOUR), HOUR),
    "incr of a text": (lambda store: store.incr("text", 5), None),
}


class ExpiredContract(Contract):
    """An expired entry is the same as none, for every call."""

    @pytest.mark.parametrize("calls", ABSENT.values(), ids=ABSENT)
    def test_what_has_expired_is_not_there(
        self, store: Store, elapse: Elapse, calls: Absent
    ) -> None:
        for name, (call, outcome) in calls.items():
            assert call(store) == outcome, f"{name} of an entry that never was"
        store.set("a", 1, expires=SOON)
        elapse(LATER)
        for name, (call, outcome) in calls.items():
            assert call(store) == outcome, name
        assert "a" not in store

    def test_update_of_an_expired_entry_is_a_missing_key_error(
        self, store: Store, elapse: Elapse
    ) -> None:
        store.set("a", 1, expires=SOON)
        elapse(LATER)
        with pytest.raises(MissingKeyError):
            store.update("a", lambda old: old + 1)
        assert "a" not in store

    @pytest.mark.parametrize(("call", "lifetime"), BEGINNINGS.values(), ids=BEGINNINGS)
    def test_what_is_stored_over_the_expired_inherits_nothing(
        self,
        store: Store,
        elapse: Elapse,
        call: Callable[[Store], object],
        lifetime: timedelta | None,
    ) -> None:
        store.set_many({"a": 100, "b": 100, "text": "100"}, expires=SOON)
        elapse(LATER)
        call(store)
        found = dict(store.items())
        item = found.pop("a", None) or found.pop("text")
        assert item.value == 5
        assert found in ({}, {"b": Item(6, None)})
        if lifetime is None:
            assert item.expires_at is None
        else:
            assert item.ttl is not None
            assert abs(item.ttl - lifetime) < timedelta(minutes=1)

    def test_a_lifetime_given_by_touch_ends(self, store: Store, elapse: Elapse) -> None:
        store.set("a", 1)
        assert store.touch("a", SOON)
        elapse(LATER)
        assert "a" not in store

    def test_a_touched_entry_outlives_its_first_lifetime(
        self, store: Store, elapse: Elapse
    ) -> None:
        store.set_many({"a": 1, "b": 1}, expires=0.2)
        assert store.touch("a", HOUR)
        assert store.touch("b", None)
        item = store.get_item("a")
        elapse(0.21)
        assert store.get_item("a") == item
        assert store.get_item("b") == Item(1, None)

    @pytest.mark.parametrize("moment", [True, False], ids=["moment", "lifetime"])
    def test_others_stay_when_one_expires(self, store: Store, elapse: Elapse, moment: bool) -> None:
        # Short enough that a Redis server is asked before it deletes what has expired by itself.
        store.set("an hour", 1, expires=HOUR)
        store.set("never", 2)
        lifetime = timedelta(seconds=SOON + 0.03)
        store.set("gone", 3, expires=datetime.now().astimezone() + lifetime if moment else lifetime)
        elapse(SOON + 0.04)
        assert store.get_many(["an hour", "never", "gone"]) == {"an hour": 1, "never": 2}
        assert sorted(store.keys()) == ["an hour", "never"]
        assert store.count() == 2
