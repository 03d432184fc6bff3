"""A Key's upgrade turns an older form of the JSON into its type's, in every call that reads."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from django_persist import Item, Key, Store
from django_persist.exceptions import DecodeError
from tests.store.contract.base import Contract


@dataclass
class Person:
    first: str
    last: str


def split(plain: Any) -> Any:
    """Split the field `name`, and change what it got: it must be a copy."""
    plain["first"], plain["last"] = plain.pop("name").split(" ")
    return plain


def refuse(plain: Any) -> Any:
    raise ValueError(f"Can't upgrade {plain}.")


def refuse_plainly(plain: Any) -> Any:
    return plain["version"]


def wrapped(plain: Any) -> Any:
    try:
        return int(plain["name"])
    except ValueError:
        raise LookupError("no number")  # noqa: B904


KEY = Key("person:{id}", as_=Person, upgrade=split)
ONE = KEY(id=1)
OLD = {"name": "Ada 51927", "born": 1815}
NEW = Person("Ada", "51927")

READS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get(ONE),
    "get strict": lambda store: store.get(ONE, strict=True),
    "get_item": lambda store: store.get_item(ONE).value,  # type: ignore[union-attr]
    "get_many": lambda store: store.get_many([ONE])[ONE],
    "get_or_create": lambda store: store.get_or_create(ONE, Person("a", "b"))[0],
}
FAILURES: dict[str, tuple[Callable[[Any], Any], str, type | None]] = {
    "raises with the value": (refuse, "upgrade raised ValueError", None),
    "raises while another is handled": (wrapped, "upgrade raised LookupError", None),
    "raises without the value": (refuse_plainly, "upgrade raised KeyError", KeyError),
    "another type": (lambda plain: {"first": 51927}, "not of the type Person", None),
    "nothing": (lambda plain: None, "not of the type Person", None),
    "no JSON": (lambda plain: {51927: object()}, "can't be stored", ValueError),
}


class UpgradesContract(Contract):
    """A Key's upgrade turns an older form of the JSON into its type's."""

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_a_read_upgrades_and_writes_nothing(
        self, store: Store, unwritten: Store, read: Callable[[Store], object]
    ) -> None:
        store.set("person:1", OLD)
        assert read(unwritten) == NEW
        assert store.get("person:1") == OLD

    def test_a_pop_returns_the_new_form(self, store: Store) -> None:
        store.set("person:1", OLD)
        assert store.pop(ONE) == NEW
        assert "person:1" not in store

    def test_an_update_stores_the_new_form_and_keeps_what_the_type_does_not_know(
        self, store: Store
    ) -> None:
        store.namespace("in").set("person:1", OLD)
        result = store.namespace("in").update(ONE, lambda old: Person(old.first, "King"))
        assert result == Person("Ada", "King")
        stored = {"first": "Ada", "last": "King", "born": 1815}
        assert dict(store.items()) == {"in:person:1": Item(stored, None)}

    def test_a_value_of_the_type_is_not_upgraded(self, store: Store) -> None:
        key = Key("a", as_=Person, upgrade=lambda plain: pytest.fail("It was called."))
        store.set(key, NEW)
        assert store.get(key) == NEW
        assert store.update(key, lambda old: old) == NEW
        assert store.get(Key("b", as_=Person, upgrade=split)) is None

    def test_the_type_of_a_call_leaves_the_upgrade_out(self, store: Store) -> None:
        store.set("person:1", OLD)
        assert store.get(ONE, as_=dict[str, Any]) == OLD
        assert store.get(ONE, as_=int) is None
        with pytest.raises(DecodeError):
            store.update(ONE, lambda old: old, as_=int)

    @pytest.mark.parametrize(("upgrade", "message", "cause"), FAILURES.values(), ids=FAILURES)
    def test_an_upgrade_that_fails_is_a_mismatch(
        self,
        store: Store,
        unwritten: Store,
        caplog: pytest.LogCaptureFixture,
        upgrade: Callable[[Any], Any],
        message: str,
        cause: type | None,
    ) -> None:
        store.set("a", OLD)
        key = Key("a", as_=Person, upgrade=upgrade)
        assert unwritten.get(key, "absent") == "absent"
        assert unwritten.pop(key, "absent") == "absent"
        assert message in caplog.text
        calls: list[Callable[[], object]] = [
            lambda: unwritten.get(key, strict=True),
            lambda: unwritten.update(key, lambda old: old),
            lambda: unwritten.get_or_create(key, NEW),
        ]
        for call in calls:
            with pytest.raises(DecodeError, match=message) as caught:
                call()
            assert isinstance(caught.value.__cause__, cause or type(None))
            error: BaseException | None = caught.value
            while error is not None:
                assert "51927" not in str(error)
                error = error.__cause__ or error.__context__
        assert "51927" not in caplog.text

    def test_an_upgrade_is_part_of_a_key(self) -> None:
        assert ONE.upgrade is split
        assert Key("person:1", as_=Person, upgrade=split) == ONE != Key("person:1", as_=Person)
        assert pickle.loads(pickle.dumps(ONE)) == ONE
        assert repr(ONE) == "<Key 'person:1'>"
        with pytest.raises(TypeError, match="pass as_"):
            Key("a", upgrade=split)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="must be a function"):
            Key("a", as_=Person, upgrade="split")  # type: ignore[call-overload]
