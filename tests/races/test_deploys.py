"""Old and new code, with different classes, update entries at the same time: no field is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import make_dataclass
from typing import Any, Final, Required

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from django_persist import Key, Store, persist
from tests.processes import PROCESSES, race

UPDATES: Final = 6
KINDS: Final = ("dataclass", "attrs", "Struct", "pydantic", "TypedDict")
# The fields that only the old class has, and those that only the new class has.
CHANGES: Final[dict[str, tuple[list[str], list[str]]]] = {
    "add": ([], ["added"]),
    "remove": (["removed"], []),
    "rename": (["old"], ["new"]),
}


def _class(kind: str, name: str, required: dict[str, Any], numbers: list[str]) -> Any:
    """Return a class of a kind with fields of these types, and numbers that default to 0."""
    fields: list[Any] = [*required.items(), *((number, int, 0) for number in numbers)]
    match kind:
        case "dataclass":
            return make_dataclass(name, fields)
        case "attrs":
            typed = {field: attrs.field(type=type_) for field, type_ in required.items()}
            counts = {number: attrs.field(type=int, default=0) for number in numbers}
            return attrs.make_class(name, typed | counts)
        case "Struct":
            return msgspec.defstruct(name, fields)
        case "pydantic":
            models: Any = {field: (type_, ...) for field, type_ in required.items()}
            return pydantic.create_model(name, **models | dict.fromkeys(numbers, (int, 0)))
    typed_dict: Any = TypedDict
    needed = {field: Required[type_] for field, type_ in required.items()}
    return typed_dict(name, needed | dict.fromkeys(numbers, int), total=False)


def _renamed(old: str, new: str) -> Any:
    """Return an upgrade that renames a field, also of the objects inside."""

    def upgrade(plain: Any) -> Any:
        for each in (plain, *plain["lines"].values()):
            each[new] = each.pop(old)
        return plain

    return upgrade


def _key(kind: str, change: str, *, is_new: bool) -> Key[Any]:
    """Return the key that the old or the new code has, with a class of its own."""
    own, other = CHANGES[change][is_new], CHANGES[change][not is_new]
    required: dict[str, Any] = dict.fromkeys(own, int) if change == "rename" else {}
    numbers = ["count", *(name for name in own if name not in required)]
    line: Any = _class(kind, "Line", required, numbers)
    cart = _class(kind, "Cart", required | {"lines": dict[str, line]}, numbers)
    upgrade = _renamed(other[0], own[0]) if change == "rename" else None
    return Key(change, as_=cart, upgrade=upgrade)


KEYS: Final = {
    (kind, is_new): {change: _key(kind, change, is_new=is_new) for change in CHANGES}
    for kind in KINDS
    for is_new in (False, True)
}


def count_all(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        if isinstance(value, dict):
            value[name] = value.get(name, 0) + 1
        else:
            setattr(value, name, getattr(value, name) + 1)
    return value


def deploy(i: int, kind: str) -> None:
    """Half of the processes run the old code, the others the new."""
    is_new = bool(i % 2)
    keys = KEYS[kind, is_new]
    for _ in range(UPDATES):
        for change, key in keys.items():
            names = ("count", *CHANGES[change][is_new])

            def count(cart: Any, names: Iterable[str] = names) -> Any:
                lines = cart["lines"] if isinstance(cart, dict) else cart.lines
                count_all(lines["tea"], names)
                return count_all(cart, names)

            persist.update(key, count)
            assert persist.get(key, strict=True) is not None
        assert len(persist.get_many(keys.values(), strict=True)) == len(keys)


# What a kind of class needs is the store's, and the same on every server.
COSTLY: Final = pytest.mark.costly
RUNS: Final = [KINDS[0], *(pytest.param(kind, marks=COSTLY) for kind in KINDS[1:])]


@pytest.mark.parametrize("kind", RUNS)
def test_old_and_new_code_lose_no_field(shared_store: Store, kind: str) -> None:
    for change in CHANGES:
        counts = {"count": 0, **({"old": 0} if change == "rename" else {})}
        shared_store.set(change, {**counts, "lines": {"tea": counts}})
    race(deploy, kind)
    half = PROCESSES // 2 * UPDATES
    stored = shared_store.get_many(CHANGES)
    # Both names are those of one field; which of them is stored is up to the last writer.
    name = "new" if "new" in stored["rename"] else "old"
    for change, own in (("add", {"added": half}), ("remove", {"removed": half})):
        counts = {"count": 2 * half, **own}
        assert stored[change] == {**counts, "lines": {"tea": counts}}
    counts = {"count": 2 * half, name: 2 * half}
    assert stored["rename"] == {**counts, "lines": {"tea": counts}}
