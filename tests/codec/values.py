"""Values of every kind, fit to be stored or not, for property tests."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
from django.utils.safestring import SafeString
from hypothesis import strategies as st

from tests.codec.types import (
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
moments = st.datetimes(timezones=zones)
leaves = (
    scalars
    | st.floats()
    | st.text()
    | moments
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
    """Objects of any class, their fields filled with anything at all."""
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
        | st.builds(Blind, moments | inner, st.floats() | inner)
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
    """Say independently of the codec what a value is as JSON; ValueError where it's nothing."""
    return json.loads(
        msgspec.json.encode(value, enc_hook=_hook), object_pairs_hook=_pairs, parse_constant=_pairs
    )


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, User):
        return value.model_dump(mode="json", by_alias=True)
    raise ValueError


def _pairs(pairs: Any) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def is_itself(value: Any, back: Any) -> bool:
    """Return whether an object came back as what it was, by what counts for its class."""
    if type(back) is not type(value):
        return False
    if isinstance(value, Cart):
        return (back.user, back.items) == (value.user, value.items) and list(
            map(type, back.items)
        ) == list(map(type, value.items))
    if isinstance(value, Blind):
        return (str(back.when), back.number) == (str(value.when), value.number)
    return bool(back == value)
