"""Decoding errors: corrupt text, text of another type, and types that can't be validated."""

from __future__ import annotations

import collections
import datetime as dt
import pickle
import sys
import traceback
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import msgspec
import pytest

from django_persist import codec
from django_persist.exceptions import DecodeError
from tests.codec.types import (
    Box,
    Cart,
    Checked,
    Color,
    Item,
    Measure,
    Movie,
    Positive,
    Priority,
    Renamed,
    Status,
    Task,
    Team,
    Unreadable,
    User,
    Wrapped,
)


class Own:
    pass


class Later(TypedDict):
    a: NotYetThere  # type: ignore[name-defined]  # noqa: F821


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int = 0


@pytest.mark.parametrize("as_", [None, Any, int, str, Cart, list[Cart], User, User | None])
@pytest.mark.parametrize(
    "text",
    [
        b"", "", b" ", b"nul", b"NaN", b"Infinity", b"[NaN]", b"1e400", b'["x", NaN]', b'{"a": 1',
        b"{} x", b"{'a': 1}", b'"\xff"', "\ud800", '"\ud800"', b"\xef\xbb\xbf1", b"1" * 5000,
        b'{"user": "x", "items": [}', pickle.dumps({"a": 1}), pickle.dumps(1, 0),
    ],
)  # fmt: skip
def test_corrupt_text_is_a_decode_error(text: str | bytes, as_: Any) -> None:
    with pytest.raises(DecodeError, match="'the key' is corrupt") as caught:
        codec.decode(text, as_, key="the key")
    assert type(caught.value) is DecodeError


MISMATCHES: list[tuple[bytes, Any, str]] = [
    (b'"1"', int, "int"),
    (b"1", str, "str"),
    (b"1.0", int, "int"),
    (b"true", int, "int"),
    (b"1", bool, "bool"),
    (b"null", int, "int"),
    (b"1", type(None), "None"),
    (b'"1.5"', float, "float"),
    (b"1", dt.datetime, "datetime"),
    (b'"1"', int | None, "int | None"),
    (b'["1"]', list[int], "list[int], at $[0]"),
    (b'{"secret": "x"}', dict[str, int], "dict[str, int], at $[...]"),
    (b'{"secret": 1}', dict[int, int], "dict[int, int], at $"),
    (b'"secret"', Color, "Color"),
    (b'"secret"', Status, "Status"),
    (b"true", Priority, "Priority"),
    (b'{"status": "secret"}', Task, "Task, at $.status"),
    (b'"secret"', Literal["a"], "Literal['a']"),
    (b'{"a": 1, "secret": 2}', Strict, "Strict"),
    (b'{"a - at `$.secret": 2}', Strict, "Strict"),
    (b'{"title": 1}', Movie, "Movie, at $.title"),
    (b'{"user": 1, "items": [{"sku": "s"}, {"sku": 5}]}', Cart, "Cart, at $.items[1].sku"),
    (b'{"number": -1}', Checked, "Checked, at $.number"),
    (b'{"number": -1}', Positive, "Positive"),
    (b'{"type": "secret"}', Renamed, "Renamed"),
    (b'{"content": "x"}', Box[int], "Box[int], at $.content"),
    (b'{"name": "secret", "years": "3"}', User, "User"),
    (b'{"name": 5}', User, "User"),
    (b'[{"name": "a"}, {"name": ["secret"]}]', list[User], "list[User], at $[1]"),
    (b'{"name": 5}', User | None, "User | None"),
    (b'{"content": "secret"}', Wrapped[int], "Wrapped[int]"),
    (b'{"lead": {"name": 5}}', Team, "Team, at $.lead"),
]


@pytest.mark.parametrize(("text", "as_", "name"), MISMATCHES)
def test_mismatch_names_key_type_and_path_but_no_value(text: bytes, as_: Any, name: str) -> None:
    with pytest.raises(codec.MismatchError) as caught:
        codec.decode(text.decode(), as_, key="the key")
    shown = "".join(traceback.format_exception_only(caught.value))
    assert f"'the key' is not of the type {name}" in shown
    # Tracebacks and Django's debug page show the context too.
    assert caught.value.__context__ is None
    assert "secret" not in shown


def test_path_is_never_taken_from_the_message_of_a_hook() -> None:
    class Lying(msgspec.Struct):
        a: str

        def __post_init__(self) -> None:
            raise ValueError(f"x - at `$.{self.a}`")

    with pytest.raises(codec.MismatchError) as caught:
        codec.decode(b'{"a": "secret"}', Lying, key="k")
    assert "secret" not in str(caught.value)


def test_int_is_read_as_a_float() -> None:
    value = codec.decode(b"1", float, key="k")
    assert (value, type(value)) == (1.0, float)


@pytest.mark.parametrize("as_", [None, list[Any], Cart])
def test_text_nested_too_deeply_is_a_decode_error(as_: Any) -> None:
    text = b"[" * 200_000 + b"]" * 200_000
    if as_ is Cart:
        text = b'{"user": 1, "extra": ' + text + b"}"
    with pytest.raises(DecodeError, match="nested too deeply") as caught:
        codec.decode(text, as_, key="k")
    assert type(caught.value) is DecodeError


@pytest.mark.parametrize(
    ("as_", "name"),
    [
        (Own, "Own"),
        (list[Own], "list[Own]"),
        (Item | Cart, "Item | Cart"),
        (dt.datetime | str, "datetime | str"),
        (User | Measure, "User | Measure"),
        (User | int, "User | int"),
        (Unreadable, "Unreadable"),
        (collections.deque, "deque"),
        (dict[str, collections.deque[int]], "dict[str, deque[int]]"),
        (object, "object"),
        (complex, "complex"),
        ("Cart", "'Cart'"),
        (5, "5"),
        (Annotated[Own, ["unhashable"]], "Own"),
        (Later, "Later"),
    ],
)
def test_type_that_cannot_be_validated_is_named(as_: Any, name: str) -> None:
    for use in (codec.check_type, lambda type_: codec.decode(b"1", type_, key="k")):
        with pytest.raises(TypeError) as caught:
            use(as_)
        assert str(caught.value).startswith(f"{name} is not a type")


@pytest.mark.parametrize("as_", [int, Cart, list[User], Movie, Annotated[int, ["unhashable"]], Any])
def test_type_that_can_be_validated(as_: Any) -> None:
    codec.check_type(as_)


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (Cart, "Cart"),
        (list[Cart], "list[Cart]"),
        (int | None, "int | None"),
        (Optional[Cart], "Cart | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Annotated[int, 5], "int"),
        (Any, "Any"),
        (None, "None"),
        (Box[int], "Box[int]"),
    ],
)
def test_type_name(type_: Any, name: str) -> None:
    assert codec.type_name(type_) == name


def test_codec_works_where_pydantic_is_not_imported() -> None:
    pydantic = sys.modules.pop("pydantic.main")
    try:
        assert codec.decode(codec.encode({"a": (1,)}), key="k") == {"a": [1]}
    finally:
        sys.modules["pydantic.main"] = pydantic
