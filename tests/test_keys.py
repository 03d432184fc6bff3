"""Key: a name, a type and a lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from django_persist import Key
from django_persist.exceptions import InvalidExpiryError, InvalidKeyError
from django_persist.keys import are_plain, check
from tests.extent import examples

HOUR = timedelta(hours=1)
UUID_1 = UUID(int=1)


class Size(IntEnum):
    LARGE = 4


class Color(StrEnum):
    RED = "red"


@dataclass
class Cart:
    items: list[str]


CART = Key("cart:{user_id}", as_=Cart, expires=HOUR)


# Definitions.


@pytest.mark.parametrize(
    ("template", "parts", "name"),
    [
        ("cart", {}, "cart"),
        ("cart:{user_id}", {"user_id": 4}, "cart:4"),
        ("{a}:{b}", {"a": "x", "b": "y"}, "x:y"),
        ("{a}-{b}/{c}.json", {"a": 1, "b": 2, "c": 3}, "1-2/3.json"),
        ("{a}::{b}", {"a": "", "b": ""}, "::"),
        ("{{{a}}}", {"a": 1}, "{1}"),
        ("ключ:{имя}", {"имя": "я"}, "ключ:я"),
        ("a:{self}", {"self": 1}, "a:1"),
        ("a:{key}:{name}:{expires}", {"key": 1, "name": 2, "expires": 3}, "a:1:2:3"),
    ],
)
def test_a_template_is_filled_with_parts(template: str, parts: dict[str, Any], name: str) -> None:
    key: Key[Any] = Key(template)
    bound = key(**parts) if parts else key
    assert str(bound) == bound.name == name
    assert bound.fields == ()
    assert repr(bound) == f"<Key {name!r}>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a}{b}", "a separator between its fields"),
        ("x:{a}{b}:{c}", "a separator between its fields"),
        ("{a!r}", "plain named fields"),
        ("{a!s}:x", "plain named fields"),
        ("{a:>4}", "plain named fields"),
        ("{a:{b}}", "plain named fields"),
        ("{}", "plain named fields"),
        ("x:{}:{}", "plain named fields"),
        ("{0}", "plain named fields"),
        ("{a.b}", "plain named fields"),
        ("{a[0]}", "plain named fields"),
        ("{ a }", "plain named fields"),
        ("100%:{a}", "must not contain '%'"),
        ("{a}%", "must not contain '%'"),
        ("{a}%3A{b}", "must not contain '%'"),
        ("{a}:{b}:{a}", "each field once"),
        ("{a", "is not a valid template"),
        ("a}", "is not a valid template"),
        ("", "at least one character"),
        ("k" * 256, "at most 255 characters"),
        ("a\0b", "not contain a NUL"),
        ("\ud800", "not contain a lone surrogate"),
    ],
    ids=ascii,
)
def test_a_definition_that_cannot_keep_keys_apart_is_refused(template: str, message: str) -> None:
    with pytest.raises(InvalidKeyError, match=message):
        Key(template)


@pytest.mark.parametrize("name", [None, 4, b"a", ["a"]], ids=repr)
def test_a_name_that_is_not_a_str_is_a_type_error(name: Any) -> None:
    with pytest.raises(TypeError, match="name must be a str, not "):
        Key(name)


def test_a_plain_key_can_hold_what_quotes_in_a_template() -> None:
    assert Key("100%").name == "100%"
    assert Key("{{a}}").name == "{a}"


@pytest.mark.parametrize("expires", [0, -1, float("nan")])
def test_a_definition_with_an_invalid_expiry_is_refused(expires: float) -> None:
    with pytest.raises(InvalidExpiryError):
        Key("a", expires=expires)


# Parts.


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (4, "4"),
        ("4", "4"),
        (-4, "-4"),
        (Size.LARGE, "4"),
        (Color.RED, "red"),
        (mark_safe("<b>"), "<b>"),
        (UUID_1, "00000000-0000-0000-0000-000000000001"),
        ("", ""),
        (":", "%3A"),
        ("%", "%25"),
        ("%3A", "%253A"),
        ("a b/ß😀", "a b/ß😀"),
    ],
    ids=repr,
)
def test_a_part_is_quoted(part: Any, text: str) -> None:
    assert Key("x:{a}")(a=part).name == f"x:{text}"


def test_a_separator_within_a_part_is_quoted() -> None:
    assert Key("{a}/{b}")(a="1/2", b="3/4:5").name == "1%2F2/3%2F4%3A5"
    assert Key("{a}é{b}")(a="é", b="").name == "%C3%A9é"


def test_equal_texts_are_one_part() -> None:
    key = Key("x:{a}")
    assert key(a=4) == key(a="4") == key(a=Size.LARGE)
    assert key(a=UUID_1) == key(a=str(UUID_1))


@pytest.mark.parametrize("part", [True, False, 1.0, None, b"a", Key("a"), (1,)], ids=repr)
def test_a_part_of_another_type_is_a_type_error(part: Any) -> None:
    with pytest.raises(TypeError, match="part of a key must be a str, int or UUID"):
        Key("x:{a}")(a=part)


@pytest.mark.parametrize("parts", [{}, {"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_missing_or_unknown_parts_are_a_type_error(parts: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="'x:{a}:{b}' takes a, b, not "):
        Key("x:{a}:{b}")(**parts)


@pytest.mark.parametrize("part", ["k" * 254, "a\0", "\ud800"], ids=["too long", "NUL", "surrogate"])
def test_a_part_that_makes_the_key_invalid_is_refused(part: str) -> None:
    with pytest.raises(InvalidKeyError):
        Key("x:{a}")(a=part)


SEPARATORS = [":", "-", "/", "a", "A", "3", "2F", "::", "ab", "a:", "é", "\U0001f600", "0-", "}}"]


@settings(max_examples=examples(400))
@given(separator=st.sampled_from(SEPARATORS), data=st.data())
def test_different_parts_never_make_the_same_key(separator: str, data: st.DataObject) -> None:
    literal = separator.replace("}}", "}")
    parts = st.tuples(*[st.text(sorted({*literal, *"%:23aAF"}), max_size=5)] * 3)
    key: Key[Any] = Key(f"a{{x}}{separator}{{y}}:{{z}}{separator}")
    one, other = data.draw(parts), data.draw(parts)
    assume(one != other)
    names = {key(x=x, y=y, z=z).name for x, y, z in (one, other)}
    assert len(names) == 2


# Keys as objects.


def test_keys_are_equal_if_name_type_and_lifetime_are() -> None:
    assert Key("a", as_=int, expires=60) == Key("a", as_=int, expires=timedelta(minutes=1))
    assert hash(Key("a", as_=int)) == hash(Key("a", as_=int))
    assert CART(user_id=4) == CART(user_id="4")
    assert CART(user_id=4) != CART(user_id=5)
    for other in (Key("b", as_=int), Key("a", as_=str), Key("a"), Key("a", as_=int, expires=60)):
        assert Key("a", as_=int) != other
    assert Key("{{a}}") != Key("{a}")
    assert Key("a") != "a"


def test_keys_can_be_the_keys_of_a_dict() -> None:
    assert {CART(user_id=4): 1, CART(user_id="4"): 2, Key("cart:4"): 3, "cart:4": 4} == {
        CART(user_id=4): 2,
        Key("cart:4"): 3,
        "cart:4": 4,
    }


def test_an_integer_too_long_for_a_key_is_refused() -> None:
    with pytest.raises(InvalidKeyError, match="at most 255 characters"):
        Key("n:{n}")(n=10**5000)


@given(st.lists(st.text(max_size=4) | st.sampled_from(["k" * 255, "k" * 256, mark_safe("k"), 4])))
def test_plain_keys_are_valid(keys: list[Any]) -> None:
    if are_plain(keys, 255):
        assert [check(key) for key in keys] == keys
        assert {type(key) for key in keys} <= {str}
    assert are_plain(["key", "k" * 255], 255)
    assert not are_plain(["key", "k" * 255], 254)
