"""Values that would not read back are refused, with an error that has the path but no value."""

# mypy: disable-error-code="arg-type, list-item, dict-item"
# These tests pass values of wrong types on purpose.

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import deque
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from django.utils.functional import SimpleLazyObject, lazy, lazystr

from django_persist import codec
from django_persist.exceptions import EncodeError
from tests.codec.test_codec import everything
from tests.codec.types import (
    Access,
    Account,
    Address,
    Admin,
    Apart,
    Blind,
    Box,
    Cart,
    Cat,
    Checked,
    Color,
    Dog,
    Doubling,
    Everything,
    Excluding,
    GiftItem,
    Hidden,
    Item,
    Line,
    Measure,
    Pair,
    Pets,
    Point,
    Positive,
    Team,
    Tree,
    Uncompared,
    User,
)

ODD = dt.timezone(dt.timedelta(hours=1, seconds=30))
ZONED = dt.time(9, tzinfo=ZoneInfo("Europe/Prague"))
NAN = math.nan


class Hours(pydantic.BaseModel):
    opens: dt.time | None = None
    others: list[dt.time] = []


@dataclasses.dataclass
class Shop:
    hours: Hours


class Own:
    pass


class Holder:
    def __init__(self, content: Any) -> None:
        self.content = content


HOLDER = Holder(NAN)


def changed(**fields: Any) -> Everything:
    return dataclasses.replace(everything(), **fields)


def hidden_pin() -> Hidden:
    return Hidden("n", 1234)


def unlucky() -> Checked:
    value = Checked()
    value.number = 13
    return value


def with_keys_listed(value: Any) -> dict[str, Any]:
    """Return a dict of which CPython lists the keys, too, as it once had one that isn't a str."""
    made: dict[Any, Any] = {1: 0}
    del made[1]
    made["a"] = value
    return made


def deleted_field() -> Item:
    item = Item("a")
    del item.sku
    return item


REFUSED: list[tuple[Any, str]] = [
    # Values that JSON can't represent.
    (NAN, "$"),
    ([1, [math.inf]], "$[1][0]"),
    ({"a": {"b": -math.inf}, "c": "null"}, "$.a.b"),
    ({"a": [Decimal("NaN")]}, "$.a[0]"),
    (Decimal("sNaN"), "$"),
    ([Decimal("Infinity")], "$[0]"),
    ({NAN: 1}, "a key of $"),
    ({Decimal("NaN"): 1}, "a key of $"),
    ("\ud800", "$"),
    ({"a": ["\ud800"]}, "$.a[0]"),
    ({"\udfff": 1}, "a key of $"),
    (10**5000, "$"),
    ({"cart": {"items": [1, 2, 3, {4: Own()}]}}, "$.cart.items[3][...]"),
    # Other types.
    (Own(), "$"),
    (Own, "$"),
    (deque([1]), "$"),
    (range(3), "$"),
    (iter(()), "$"),
    (1j, "$"),
    ({}.keys(), "$"),
    (MappingProxyType({}), "$"),
    (msgspec.UNSET, "$"),
    (msgspec.Raw(b"1"), "$"),
    (Box(msgspec.Raw(b'1,"b":2')), "$.content"),
    (SimpleLazyObject(lambda: "text"), "$"),
    (lazy(lambda: 5, int)(), "$"),
    (Line(deque([1])), "$.queue"),
    # Keys.
    ({None: 1}, "a key of $"),
    ({True: 1}, "a key of $"),
    ({(1,): 1}, "a key of $"),
    ({Pair(1): 1}, "a key of $"),
    ([{Own(): 1}], "a key of $[0]"),
    ({lazy(lambda: 5, int)(): 1}, "a key of $"),
    ({1: "a", "1": "b"}, "a key of $"),
    ({1.5: "a", "1.5": "b"}, "a key of $"),
    ({"a": [{Apart("s"): 1, "s": 2}]}, "a key of $.a[0]"),
    ({Color.RED: 1, "red": 2}, "a key of $"),
    ({b"a": 1, "YQ==": 2}, "a key of $"),
    # Keys that are invalid only in the second of two dicts.
    ([{1: 0}, {True: 0}], "a key of $[1]"),
    ([{"a": 1}, {2: 0, "2": 0}], "a key of $[1]"),
    (Cart(1, extra={1: 1, "1": 2}), "a key of $.extra"),
    # From Python 3.13 on, CPython doesn't list the values of a living object's __dict__.
    ([with_keys_listed(1) for _ in range(30)] + [{"a": NAN}], "$[30].a"),
    ([with_keys_listed(1), vars(HOLDER)] * 20, "$[1].content"),
    ({dt.datetime(2026, 1, 1, tzinfo=ODD): 1}, "a key of $"),
    # UTC offsets that msgspec rounds.
    (dt.datetime(2026, 1, 1, tzinfo=ODD), "$"),
    ([dt.time(1, tzinfo=ODD)], "$[0]"),
    (changed(at=dt.datetime(2026, 1, 1, tzinfo=ODD)), "$.at"),
    # Times whose zone has no UTC offset without a date.
    (ZONED, "$"),
    ([ZONED], "$[0]"),
    ({ZONED: 1}, "a key of $"),
    ([1, {"a": (ZONED,)}], "$[1].a[0]"),
    (changed(clock=ZONED), "$.clock"),
    ([changed(clock=ZONED)], "$[0].clock"),
    (Cart(1, extra=[ZONED]), "$.extra[0]"),
    (Hours(opens=ZONED), "$.opens"),
    ([Hours(others=[dt.time(9), ZONED])], "$[0].others[1]"),
    (Shop(Hours(opens=ZONED)), "$.hours.opens"),
    # Fields with a value of another type than the declared one.
    (Item("a", "1"), "$.count"),
    (Item("a", True), "$.count"),
    (Item("a", 1.0), "$.count"),
    (Item("a", price=NAN), "$.price"),
    (Item("a", price=2**53 + 1), "$.price"),
    (deleted_field(), "$"),
    ([Item("a"), Item(None)], "$[1].sku"),
    ({"x": Cart(1, [Item("a"), Item("b", None)])}, "$.x.items[1].count"),
    (Cart(1, [GiftItem("a")]), "$.items[0]"),
    (Cart(1, (Item("a"),)), "$.items"),
    (Cart(1, extra=[NAN]), "$.extra[0]"),
    (Cart(1, extra=Item("a", "1")), "$.extra.count"),
    (Tree("a", [Tree("b", [Tree(1)])]), "$.children[0].children[0].name"),
    (changed(color="red"), "$.color"),
    (changed(amount="1.5"), "$.amount"),
    (changed(sized=[1, "x"]), "$.sized"),
    (changed(sized=(1, "x", 2)), "$.sized"),
    (changed(tags=["a"]), "$.tags"),
    (changed(frozen=frozenset({"1"})), "$.frozen[0]"),
    (changed(movie={"title": "M", "stars": 5}), "$.movie"),
    (changed(by_id={"1": Item("a")}), "a key of $.by_id"),
    (changed(by_id={1: GiftItem("a")}), "$.by_id[1]"),
    (changed(many=(GiftItem("a"),)), "$.many[0]"),
    (changed(maybe=GiftItem("a")), "$.maybe"),
    (changed(either=1.5), "$.either"),
    (changed(data="YQ=="), "$.data"),
    (changed(at=None), "$.at"),
    (Pets([Cat(), Dog(1)]), "$.pets[1].name"),
    (Pets([Cat(), Item("a")]), "$.pets[1]"),
    (Pets([1.5]), "$.pets[0]"),
    # Objects that their own class would change or reject when they are read.
    (Doubling(1), "$.number"),
    (Checked(-1), "$.number"),
    (unlucky(), "$"),
    (Checked(1, "x"), "$.size"),
    (hidden_pin(), "$._pin"),
    (Address("s", "2"), "$.number"),
    (Point("1"), "$.x"),
    (Pair("1"), "$[0]"),
    (Blind(number=NAN), "$.number"),
    (Blind(when="2026-01-01T00:00:00"), "$.when"),
    (Blind(parts=[GiftItem("a")]), "$.parts[0]"),
    (Uncompared(1, Decimal("NaN")), "$.amount"),
    (Uncompared(1, "1.5"), "$.amount"),
    # Models.
    (Account(password="secret"), "$.password"),
    ([Excluding(name="secret")], "$[0].name"),
    (Measure(value=NAN), "$.value"),
    (Measure(anything=(1,)), "$.anything"),
    (Measure(anything=Own()), "$.anything"),
    (Measure(anything="\ud800"), "$.anything"),
    (User.model_construct(name=5), "$.name"),
    (Team(Admin(name="a")), "$.lead"),
    (Team(User(name="a"), [Admin(name="b")]), "$.members[0]"),
    (Team({"name": "a"}), "$.lead"),
]


@pytest.mark.parametrize(("value", "path"), REFUSED, ids=range(len(REFUSED)))
def test_refusal_names_the_path(value: Any, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    assert f"at {path}, " in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {"secret": Own()}["secret"],
        ["secret\ud800"],
        {"secret with a blank": Own()},
        Account(password="secret"),
        User.model_construct(name=["secret"]),
        changed(color="secret"),
        changed(at="secret"),
        changed(movie={"title": "M", "secret": 1}),
        changed(either=Decimal("8.5")),
        unlucky(),
        Positive.__new__(Positive),
    ],
)
def test_refusal_contains_no_value_and_chains_no_error(value: Any) -> None:
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    error = caught.value
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.filterwarnings("error")
def test_no_warning_shows_the_value() -> None:
    # pydantic's warning would: "Expected `str` ... input_value=['secret']".
    with pytest.raises(EncodeError):
        codec.encode(User.model_construct(name=["secret"]))


@pytest.mark.parametrize("value", [lazystr("x"), Access(3)])
def test_top_level_value_is_encoded_like_one_in_a_list(value: Any) -> None:
    assert codec.encode(value) == codec.encode([value])[1:-1]
