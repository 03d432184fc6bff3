"""Any value at all either is refused or reads back as what it was."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_persist import codec
from django_persist.codec import fidelity, quick, to_text
from django_persist.exceptions import DecodeError, EncodeError
from tests.codec.types import (
    Apart,
    Cat,
    Checked,
    Dog,
    Everything,
    Item,
    Level,
    Movie,
    Pair,
    Pets,
    Positive,
    Size,
    Status,
    Task,
)
from tests.codec.values import (
    anything,
    as_json,
    finite,
    is_itself,
    leaves,
    plain_json,
    structured,
    texts,
)
from tests.extent import examples


class Real(float):
    pass


class OwnItems(dict[Any, Any]):
    """A dict that shows other values than it has; msgspec encodes those that it has."""

    def values(self) -> Any:
        return [1]


class OwnIter(list[Any]):
    """A list that shows other items than it has; msgspec encodes those that it has."""

    def __iter__(self) -> Any:
        return iter([1])


bounded = settings(deadline=None, max_examples=examples(200))


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
def test_plain_json_reads_back_exactly(value: Any) -> None:
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
def test_object_is_refused_or_reads_back_as_itself(value: Any) -> None:
    try:
        text = codec.encode(value)
    except EncodeError:
        return
    assert is_itself(value, codec.decode(text, type(value), key="k"))


@bounded
@given(anything, st.booleans())
@example({"a": math.nan}, True)
@example([Decimal("Infinity")], True)
@example([Pair._make(["no int", ""])], True)
@example({1: 1, "1": 2}, True)
@example([1.5, 10**400, math.nan], True)
@example([None] * 30 + [math.inf], True)
@example([1.5] * 30 + [-math.inf], True)
@example([1.5] * 30 + [Pair._make(["no int", ""])], True)
@example([{"a": None, "b": 1.5}] * 30 + [{"a": math.nan, "b": None}], True)
@example([{"a": "x" * 20}] * 30 + [{Apart("s"): 1, "s": 2}], False)
@example([{"a": 1}] * 30 + [{1: 1, "1": 2}], True)
@example([{"a": 1}] * 30 + [{1: 1}, {"1": math.nan}], True)
@example([[1], {"a": Decimal("NaN")}] * 30, True)
@example([Decimal("1e400"), Decimal("sNaN")] * 30, True)
@example([Real(math.nan)] * 30, True)
@example([*Size, *Level, Real(1.5), "a", 1] * 30, True)
@example([OrderedDict(a=math.nan)] * 30, True)
@example([{"a": math.nan}, (1,), {1: 1}] * 30, False)
@example([(math.nan,), {"a": 1}, (1,)] * 30, False)
@example([OwnItems(a=math.nan)] * 30, True)
@example([OwnIter([math.nan])] * 30, True)
def test_quick_check_never_passes_what_fidelity_refuses(value: Any, is_large: bool) -> None:
    if is_large:
        # Long texts are checked differently.
        value = [value, "x" * 1000]
    try:
        text = to_text(value)
    except Exception:
        return
    if quick.is_faithful(value, text) and not is_equal(value, text):
        fidelity.check(value)


def is_equal(value: Any, text: bytes) -> bool:
    """Return whether it reads back equal, even if some part reads back as another type."""
    if json.loads(text) == value:
        return True
    try:
        return bool(codec.decode(text, type(value), key="k") == value)
    except (DecodeError, TypeError):
        return False


@bounded
@given(st.from_type(Everything))
def test_well_typed_object_reads_back(value: Everything) -> None:
    # st.from_type() also makes NaN and infinity, which JSON doesn't have.
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
def test_quick_check_passes_valid_values(value: Any) -> None:
    assert quick.is_faithful(value, codec.encode(value))
