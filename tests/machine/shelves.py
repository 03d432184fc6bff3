"""Objects that code with other classes has stored, and what an update leaves of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st
from typing_extensions import TypedDict

from django_persist import REMOVE
from django_persist.exceptions import DecodeError
from tests.machine.samples import plain


@dataclass
class DataShelf:
    count: int
    inner: DataShelf | None
    by_name: dict[str, DataShelf]
    rows: list[DataShelf]


@attrs.define
class AttrsShelf:
    count: int
    inner: AttrsShelf | None
    by_name: dict[str, AttrsShelf]
    rows: list[AttrsShelf]


class StructShelf(msgspec.Struct):
    count: int
    inner: StructShelf | None
    by_name: dict[str, StructShelf]
    rows: list[StructShelf]


class ModelShelf(pydantic.BaseModel):
    count: int
    inner: ModelShelf | None
    by_name: dict[str, ModelShelf]
    rows: list[ModelShelf]


class DictShelf(TypedDict):
    count: int
    inner: DictShelf | None
    by_name: dict[str, DictShelf]
    rows: list[DictShelf]


FIELDS: Final = ("count", "inner", "by_name", "rows")
CLASSES: Final[list[Any]] = [DataShelf, AttrsShelf, StructShelf, ModelShelf, DictShelf]


def _shelf(*inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    known = dict(zip(FIELDS, (st.integers(-5, 5), *inner), strict=True))
    return st.fixed_dictionaries(known, optional={"note": plain, "more": plain})


shelves: Final = st.recursive(
    _shelf(st.none(), st.just({}), st.just([])),
    lambda inner: _shelf(
        st.none() | inner,
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        st.just([]) | st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)
"""The JSON of shelves, with fields that no class knows."""


def older(json: Any) -> Any:
    """Return a shelf in the form that the classes had before: `n` was the name of `count`."""
    return {"n" if name == "count" else name: value for name, value in json.items()}


def upgrade(json: Any) -> Any:
    """Turn the older form of a shelf into the form of the classes."""
    json["count"] = json.pop("n")
    return json


def is_shelf(json: Any) -> bool:
    """Return whether this is the JSON of a shelf in the form of the classes."""
    return (
        isinstance(json, dict)
        and json.keys() >= set(FIELDS)
        and type(json["count"]) is int
        and (json["inner"] is None or is_shelf(json["inner"]))
        and all(isinstance(json[name], kind) for name, kind in (("by_name", dict), ("rows", list)))
        and all(map(is_shelf, [*json["by_name"].values(), *json["rows"]]))
    )


# Changes, of a shelf of any class.


def _get(shelf: Any, name: str) -> Any:
    return shelf[name] if isinstance(shelf, dict) else getattr(shelf, name)


def _set(shelf: Any, name: str, value: Any) -> None:
    if isinstance(shelf, dict):
        shelf[name] = value
    else:
        setattr(shelf, name, value)


def _new(cls: Any) -> Any:
    return cls(count=0, inner=None, by_name={}, rows=[])


def _count(shelf: Any, cls: Any) -> None:
    for each in (shelf, _get(shelf, "inner"), *_get(shelf, "by_name").values()):
        if each is not None:
            _set(each, "count", _get(each, "count") + 1)


class ShelfChange(Enum):
    """What a function that `update` gets does to a shelf."""

    COUNT = (_count,)
    NEW_INNER = (lambda shelf, cls: _set(shelf, "inner", _new(cls)),)
    NO_INNER = (lambda shelf, cls: _set(shelf, "inner", None),)
    NEW_NAME = (lambda shelf, cls: _get(shelf, "by_name").update(a=_new(cls)),)
    NO_NAME = (lambda shelf, cls: _get(shelf, "by_name").pop("a", None),)
    NO_ROWS = (lambda shelf, cls: _set(shelf, "rows", []),)
    MORE_ROWS = (lambda shelf, cls: _get(shelf, "rows").append(_new(cls)),)
    REMOVE = (None,)

    def function(self, cls: Any) -> Callable[[Any], Any]:
        """Return the function, for shelves of this class."""

        def change(shelf: Any) -> Any:
            if self is ShelfChange.REMOVE:
                return REMOVE
            self.value[0](shelf, cls)
            return shelf

        return change


# What is left in the entry.


def updated(json: Any, change: ShelfChange, cls: Any) -> Any:
    """Return the JSON of a shelf that `update` has changed through a class.

    Raises DecodeError if a list is left that had unknown fields inside.
    """
    return _merged(json, _known(change.function(dict)(_known(json, cls)), cls))


def _known(json: Any, cls: Any) -> Any:
    """Return the JSON of a shelf without unknown fields, in the order in which it is encoded."""
    # Of an object with slots, msgspec encodes these, which Python has sorted by name.
    names = sorted(FIELDS) if cls is AttrsShelf else FIELDS
    known = {name: json[name] for name in (json if cls is DictShelf else names) if name in FIELDS}
    known["by_name"] = {name: _known(inner, cls) for name, inner in json["by_name"].items()}
    known["rows"] = [_known(row, cls) for row in json["rows"]]
    if json["inner"] is not None:
        known["inner"] = _known(json["inner"], cls)
    return known


def _merged(old: Any, new: Any) -> Any:
    """Return a new shelf with what was unknown in the old one in its place."""
    if new["rows"] and any(map(_has_unknown, old["rows"])):
        raise DecodeError
    by_name = {
        name: _merged(old["by_name"][name], inner) if name in old["by_name"] else inner
        for name, inner in new["by_name"].items()
    }
    inner = new["inner"]
    if inner is not None and old["inner"] is not None:
        inner = _merged(old["inner"], inner)
    unknown = {name: value for name, value in old.items() if name not in FIELDS}
    return {**new, "by_name": by_name, "inner": inner, **unknown}


def _has_unknown(json: Any) -> bool:
    inner = [json["inner"]] if json["inner"] is not None else []
    return not json.keys() <= set(FIELDS) or any(
        map(_has_unknown, [*inner, *json["by_name"].values(), *json["rows"]])
    )
