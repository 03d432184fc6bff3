"""Hypothesis strategies for values of every kind, valid or not."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
from django.utils.safestring import SafeString
from hypothesis import strategies as st

from tests.codec.types import (
    BY_NAME,
    Access,
    Address,
    Blind,
    Cart,
    Color,
    GiftItem,
    Item,
    Level,
    Mixed,
    OtherPair,
    Pair,
    Point,
    Renamed,
    Team,
    Tree,
    Uncompared,
    User,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | texts
plain_json = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30
)

zones = st.none() | st.timezones() | st.just(dt.timezone(dt.timedelta(seconds=90)))
datetimes = st.datetimes(timezones=zones)
leaves = (
    scalars
    | st.floats()
    | st.text()
    | datetimes
    | st.times(timezones=zones)
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals()
    | st.binary()
    | st.builds(bytearray, st.binary())
    | st.builds(SafeString, texts)
    | st.sampled_from([*Color, *Level, *Mixed, Access(3), object(), 1j, range(2)])
)


def hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


keys = leaves.filter(hashable) | st.tuples(st.integers())


def structured(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for objects whose fields hold values of any type."""
    one = st.builds(Item, texts | inner) | st.builds(GiftItem, texts)
    return (
        one
        | st.builds(Cart, st.integers() | inner, st.lists(one | inner, max_size=3), inner)
        | st.builds(Tree, texts | inner, st.lists(st.builds(Tree, texts | inner), max_size=2))
        | st.builds(Pair, st.integers() | inner, texts)
        | st.builds(OtherPair, st.integers())
        | st.builds(Point, st.integers() | inner, finite | inner)
        | st.builds(Renamed, texts | inner, texts)
        | st.builds(Address, texts | inner)
        | st.builds(Blind, datetimes | inner, st.floats() | inner)
        | st.builds(Uncompared, st.integers(), st.decimals() | inner)
        | st.builds(User, name=st.text())
        | st.builds(Team, st.builds(User, name=texts) | inner)
    )


anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | structured(inner)
    ),
    max_leaves=12,
)


def as_json(value: Any) -> Any:
    """Return a value as plain JSON, computed without the codec. Raises ValueError if it can't."""
    return json.loads(
        msgspec.json.encode(value, enc_hook=_hook), object_pairs_hook=_pairs, parse_constant=_pairs
    )


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, User):
        return value.model_dump(mode="json", by_alias=not BY_NAME)
    raise ValueError


def _pairs(pairs: Any) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def is_itself(value: Any, back: Any) -> bool:
    """Return whether an object was read back as what it was, compared field by field if needed."""
    if type(back) is not type(value):
        return False
    if isinstance(value, Cart):
        return (back.user, back.items) == (value.user, value.items) and list(
            map(type, back.items)
        ) == list(map(type, value.items))
    if isinstance(value, Blind):
        return (str(back.when), back.number) == (str(value.when), value.number)
    return bool(back == value)
