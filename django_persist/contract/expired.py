"""For every call an entry that has expired is the same as none."""

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
NOTHING_THERE: dict[str, tuple[Callable[[Store], Any], Any]] = {
    "get": (lambda store: store.get("a", "none"), "none"),
    "get as_": (lambda store: store.get("a", "none", as_=int, strict=True), "none"),
    "get_item": (lambda store: store.get_item("a"), None),
    "contains": (lambda store: "a" in store, False),
    "remove": (lambda store: store.remove("a"), False),
    "touch": (lambda store: store.touch("a", 60), False),
    "touch None": (lambda store: store.touch("a", None), False),
    "pop": (lambda store: store.pop("a", "none"), "none"),
    "get_many": (lambda store: store.get_many(["a", "b"]), {}),
    "remove_many": (lambda store: store.remove_many(["a", "b"]), 0),
    "keys": (lambda store: list(store.keys()), []),
    "keys of a prefix": (lambda store: list(store.keys("a")), []),
    "items": (lambda store: list(store.items()), []),
    "count": (lambda store: store.count(), 0),
    "clear": (lambda store: store.clear(), 0),
    "update REMOVE": (lambda store: store.update("a", lambda old: REMOVE, 1), None),
}
BEGINNINGS: dict[str, tuple[Callable[[Store], Any], Any]] = {
    "create": (lambda store: store.create("a", 5), 5),
    "set": (lambda store: store.set("a", 5), 5),
    "set KEEP": (lambda store: store.set("a", 5, expires=KEEP), 5),
    "set_many": (lambda store: store.set_many({"a": 5}), 5),
    "set_many KEEP": (lambda store: store.set_many({"a": 5, "b": 6}, expires=KEEP), 5),
    "update": (lambda store: store.update("a", lambda old: old + 1, 4), 5),
    "get_or_create": (lambda store: store.get_or_create("a", 5), 5),
    "incr": (lambda store: store.incr("a", 5), 5),
    "incr over text": (lambda store: store.incr("text", 5), 5),
}


class ExpiredContract(Contract):
    """For every call an entry that has expired is the same as none."""

    @pytest.mark.parametrize(("call", "outcome"), NOTHING_THERE.values(), ids=NOTHING_THERE)
    def test_what_has_expired_is_not_there(
        self, store: Store, elapse: Elapse, call: Callable[[Store], Any], outcome: Any
    ) -> None:
        assert call(store) == outcome, "of an entry that never was"
        store.set("a", 1, expires=SOON)
        elapse(LATER)
        assert call(store) == outcome
        assert "a" not in store

    def test_update_of_what_has_expired_has_nothing_to_start_from(
        self, store: Store, elapse: Elapse
    ) -> None:
        store.set("a", 1, expires=SOON)
        elapse(LATER)
        with pytest.raises(MissingKeyError):
            store.update("a", lambda old: old + 1)
        assert "a" not in store

    @pytest.mark.parametrize(("call", "value"), BEGINNINGS.values(), ids=BEGINNINGS)
    def test_what_is_stored_over_the_expired_inherits_nothing(
        self, store: Store, elapse: Elapse, call: Callable[[Store], Any], value: Any
    ) -> None:
        store.set_many({"a": 100, "b": 100, "text": "100"}, expires=SOON)
        elapse(LATER)
        call(store)
        found = dict(store.items())
        assert Item(value, None) in found.values()
        assert all(item.expires_at is None and item.value in (5, 6) for item in found.values())

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.create("a", 5, expires=HOUR),
            lambda store: store.set("a", 5, expires=HOUR),
            lambda store: store.set_many({"a": 5}, expires=HOUR),
            lambda store: store.update("a", lambda old: old + 1, 4, expires=HOUR),
            lambda store: store.get_or_create("a", 5, expires=HOUR),
            lambda store: store.incr("a", 5, expires=HOUR),
        ],
        ids=["create", "set", "set_many", "update", "get_or_create", "incr"],
    )
    def test_what_is_stored_over_the_expired_lives_its_own_life(
        self, store: Store, elapse: Elapse, call: Callable[[Store], Any]
    ) -> None:
        store.set("a", 100, expires=SOON)
        elapse(LATER)
        call(store)
        item = store.get_item("a")
        assert item is not None
        assert item.value == 5
        assert item.ttl is not None
        assert abs(item.ttl - HOUR) < timedelta(minutes=1)

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
        # A Redis server is asked before it would give the expired back by itself.
        store.set("living", 1, expires=HOUR)
        store.set("for ever", 2)
        lifetime = timedelta(seconds=SOON + 0.03)
        store.set("gone", 3, expires=datetime.now().astimezone() + lifetime if moment else lifetime)
        elapse(SOON + 0.04)
        assert store.get_many(["living", "for ever", "gone"]) == {"living": 1, "for ever": 2}
        assert sorted(store.keys()) == ["for ever", "living"]
        assert store.count() == 2
