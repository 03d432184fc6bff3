"""Old and new code, with different classes, update one entry at the same time: no field is lost."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from django_persist import Store, persist
from tests.processes import PROCESSES, race

UPDATES = 8
SHARED, OLD, NEW = "count", ("renamed", "removed"), ("name", "added")


def _classes(names: tuple[str, str]) -> dict[str, Any]:
    """Return a class of each kind that has the field they share, two others, and objects inside."""
    fields = (SHARED, *names)
    of_int = dict.fromkeys(fields, int)
    made: dict[str, Any] = {}
    numbers: list[Any] = [(name, int, 0) for name in fields]
    line: Any = make_dataclass("Line", numbers)
    lines: Any = ("lines", dict[str, line], field(default_factory=dict))
    made["dataclass"] = make_dataclass("Cart", [*numbers, lines])
    counts = {name: attrs.field(default=0, type=int) for name in fields}
    line = attrs.make_class("Line", dict(counts))
    lines_of_attrs: Any = attrs.field(factory=dict, type=dict[str, line])
    made["attrs"] = attrs.make_class("Cart", {**counts, "lines": lines_of_attrs})
    line = msgspec.defstruct("Line", numbers)
    made["Struct"] = msgspec.defstruct("Cart", [*numbers, ("lines", dict[str, line], {})])
    defaults: Any = dict.fromkeys(fields, (int, 0))
    line = pydantic.create_model("Line", **defaults)
    made["pydantic"] = pydantic.create_model("Cart", **defaults, lines=(dict[str, line], {}))
    typed_dict: Any = TypedDict
    line = typed_dict("Line", of_int, total=False)
    made["TypedDict"] = typed_dict("Cart", {**of_int, "lines": dict[str, line]}, total=False)
    return made


OLD_CLASSES, NEW_CLASSES = _classes(OLD), _classes(NEW)


def count_all(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if isinstance(value, dict):
            value[name] = value.get(name, 0) + 1
        else:
            setattr(value, name, getattr(value, name) + 1)
    return value


def deploy(i: int, kind: str) -> None:
    """Half of the processes run the old code, the others the new."""
    names = OLD if i % 2 else NEW
    as_ = (OLD_CLASSES if i % 2 else NEW_CLASSES)[kind]

    def change(cart: Any) -> Any:
        lines = cart["lines"] if isinstance(cart, dict) else cart.lines
        count_all(lines["tea"], (SHARED, *names))
        return count_all(cart, (SHARED, *names))

    for _ in range(UPDATES):
        persist.update("cart", change, as_=as_)
        assert persist.get("cart", as_=as_, strict=True) is not None


@pytest.mark.parametrize("kind", OLD_CLASSES)
def test_old_and_new_code_lose_no_field(shared_store: Store, kind: str) -> None:
    shared_store.set("cart", {"lines": {"tea": {}}})
    race(deploy, kind)
    half = PROCESSES // 2 * UPDATES
    counts = {SHARED: 2 * half, **dict.fromkeys((*OLD, *NEW), half)}
    assert shared_store.get("cart") == {**counts, "lines": {"tea": counts}}
