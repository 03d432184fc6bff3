"""For any value: it is refused, or it reads back as what it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import msgspec
from django.utils.safestring import SafeString
from hypothesis import given, settings
from hypothesis import strategies as st

from django_persist import codec, levels
from django_persist.exceptions import DecodeError, EncodeError
from django_persist.fidelity import explain
from django_persist.jsontext import to_text
from tests.codec_types import (
    Access,
    Address,
    Blind,
    Cart,
    Cat,
    Checked,
    Color,
    Dog,
    Everything,
    GiftItem,
    Item,
    Level,
    Mixed,
    Movie,
    OtherPair,
    Pair,
    Pets,
    Point,
    Positive,
    Renamed,
    Status,
    Task,
    Team,
    Tree,
    Uncompared,
    User,
)

bounded = settings(deadline=None, max_examples=200)

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


def has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Decimal):
        return not value.is_finite()
    if isinstance(value, dict):
        return any(has_nan(key) or has_nan(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(map(has_nan, value))
    if isinstance(value, msgspec.Struct):
        return any(has_nan(getattr(value, name)) for name in value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return any(has_nan(getattr(value, field.name)) for field in dataclasses.fields(value))
    return False


@bounded
@given(plain_json)
def test_plain_json_is_taken_and_exact(value: Any) -> None:
    assert repr(codec.decode(codec.encode(value), key="k")) == repr(value)


@bounded
@given(anything)
def test_anything_is_refused_or_reads_back_as_its_json(value: Any) -> None:
    try:
        text = codec.encode(value)
    except EncodeError:
        return
    assert not has_nan(value)
    assert codec.decode(text, key="k") == as_json(value)


@bounded
@given(structured(leaves))
def test_an_object_is_refused_or_reads_back_as_itself(value: Any) -> None:
    try:
        text = codec.encode(value)
    except EncodeError:
        return
    back = codec.decode(text, type(value), key="k")
    assert type(back) is type(value)
    if isinstance(value, Cart):
        assert (back.user, back.items) == (value.user, value.items)
        assert list(map(type, back.items)) == list(map(type, value.items))
    elif isinstance(value, Blind):
        assert (str(back.when), back.number) == (str(value.when), value.number)
    else:
        assert back == value


@bounded
@given(anything)
def test_the_quick_way_never_lets_pass_what_the_judge_refuses(value: Any) -> None:
    try:
        text = to_text(value)
    except Exception:
        return
    if levels.is_faithful(value, text) and not is_equal(value, text):
        explain(value)


def is_equal(value: Any, text: bytes) -> bool:
    """Whether it reads back equal, if not in every part as just the type that it was."""
    if json.loads(text) == value:
        return True
    try:
        return bool(codec.decode(text, type(value), key="k") == value)
    except (DecodeError, TypeError):
        return False


@bounded
@given(st.from_type(Everything))
def test_well_typed_objects_are_taken(value: Everything) -> None:
    # What st.from_type makes by type may still be nothing that JSON can say.
    if not value.amount.is_finite() or has_nan(value.point) or has_nan([*value.many, value.maybe]):
        return
    if has_nan(value.by_id):
        return
    assert codec.decode(codec.encode(value), Everything, key="k") == value


@bounded
@given(
    st.lists(st.builds(Item, texts, st.integers(), finite, st.none() | texts))
    | st.dictionaries(st.integers(), st.integers())
    | st.dictionaries(st.uuids(), st.dates())
    | st.lists(st.timedeltas() | st.dates() | st.uuids() | st.binary())
    | st.from_type(Movie)
    | st.builds(Pets, st.lists(st.builds(Cat) | st.builds(Dog, texts) | st.integers() | texts))
    | st.lists(st.builds(Task, st.sampled_from(Status)))
    | st.lists(st.builds(Positive, st.integers(1)) | st.builds(Checked, st.integers(20)))
)
def test_what_is_in_order_goes_the_quick_way(value: Any) -> None:
    assert levels.is_faithful(value, codec.encode(value))
