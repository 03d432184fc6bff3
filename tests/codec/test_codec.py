"""Stored values read back: as their own type, and without a type as their JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.functional import lazystr
from django.utils.safestring import SafeString

from django_persist import codec
from django_persist.exceptions import DecodeError
from tests.codec.types import (
    BY_NAME,
    Access,
    Address,
    Blind,
    Box,
    Cart,
    Cat,
    Checked,
    Color,
    Dog,
    Everything,
    Hidden,
    Item,
    Level,
    Loose,
    Mixed,
    Movie,
    OtherPair,
    Pair,
    Parsing,
    Pets,
    Point,
    Positive,
    Priority,
    Renamed,
    Size,
    Status,
    Task,
    Team,
    Tree,
    Uncompared,
    Unreadable,
    User,
    Wrapped,
)

BERLIN = ZoneInfo("Europe/Berlin")
ID = UUID("12345678-1234-5678-1234-567812345678")


AGE = "age" if BY_NAME else "years"


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class FakeDatetime(dt.datetime):
    """A subclass of datetime, like freezegun's."""


def everything() -> Everything:
    return Everything(
        color=Color.RED,
        level=Level.HIGH,
        access=Access.READ | Access.WRITE,
        at=dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        clock=dt.time(1, 2, 3),
        amount=Decimal("1.10"),
        pair=Pair(1, "r"),
        point=Point(1),
        movie={"title": "M"},
        tags={"a", "b"},
        frozen=frozenset({1, 2}),
        sized=(1, "x"),
        many=(Item("a"), Item("b")),
        by_id={1: Item("a")},
        data=b"\0\xff",
        maybe=Item("c"),
        either="x",
    )


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**64, -(10**4000), 0.1, -0.0, 1e22, 5e-324, "", "ä\0😀", "null",
        [], {}, [[]], [{}], {"": None}, {"a": [1, 2.5, None, {"b": "null"}]}, [1, "1", 1.5, True],
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_json_reads_back_exactly(value: Any) -> None:
    back = codec.decode(codec.encode(value), key="k")
    # repr() distinguishes 1 from True and -0.0 from 0.0.
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2,)), [1, [2]]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        ({"a": (1, {2})}, {"a": [1, [2]]}),
        ({1: "a", 2: "b"}, {"1": "a", "2": "b"}),
        ({ID: 1, "x": 2, 1.5: 3, b"a": 4, dt.date(2026, 1, 2): 5}, None),
        ({1: 0, "a": 0, Color.RED: 0, Size.SMALL: 0, Decimal("1.5"): 0}, None),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        ([dt.date(2026, 1, 2), dt.time(3, 4), dt.timedelta(days=-1)], None),
        ([ID, Decimal("1.10"), b"a"], [str(ID), "1.10", "YQ=="]),
        ([bytearray(b"a"), memoryview(b"a")], ["YQ==", "YQ=="]),
        ([Status.OPEN, Priority.HIGH, {Status.OPEN: 1}], ["o", 2, {"o": 1}]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        ([Text("a"), Number(1), Real(1.5)], ["a", 1, 1.5]),
        ({Text("a"): 1, Number(2): 2, Real(2.5): 3}, {"a": 1, "2": 2, "2.5": 3}),
        ([SafeString("<b>"), lazystr("lazy")], ["<b>", "lazy"]),
        ({SafeString("<b>"): 1, lazystr("lazy"): 2, "x": 3}, {"<b>": 1, "lazy": 2, "x": 3}),
        (
            [Color.RED, Size.SMALL, Level.LOW, Access(3), Mixed.A, Mixed.B],
            ["red", "s", 1, 3, 1, "b"],
        ),
        ([Item("a"), {"b": Pair(1)}], None),
        (FakeDatetime(2026, 1, 2, fold=1), "2026-01-02T00:00:00"),
        (Unreadable("x", [1]), {"moment": "x", "anything": [1]}),
        ([User(name="u", years=3)], [{"name": "u", AGE: 3, "joined": None}]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_value_reads_back_as_its_json_without_a_type(value: Any, plain: Any) -> None:
    back = codec.decode(codec.encode(value), key="k")
    if plain is None:
        # That JSON in turn reads back as itself.
        assert codec.decode(codec.encode(back), key="k") == back
        assert len(back) == len(value)
    else:
        assert back == plain
        assert type(back) is type(plain)


TYPED: list[tuple[Any, Any]] = [
    (Cart(1, [Item("a", price=1.5), Item("b", note="n")], {"any": [1]}), Cart),
    (everything(), Everything),
    (Tree("a", [Tree("b", [Tree("c")]), Tree("d")]), Tree),
    (Address("s", 2), Address),
    (Hidden("n"), Hidden),
    (Positive(1), Positive),
    (Item("a", price=1), Item),
    (Pets([Cat(), Dog("d"), 1, "x", None], Cat(1)), Pets),
    (Status.OPEN, Status),
    (Task(Status.DONE, Priority.HIGH, {Status.OPEN: 1}), Task),
    ([Task(Status.DONE)], list[Task]),
    ({Priority.HIGH: 1}, dict[Priority, int]),
    (Checked(1, "b"), Checked),
    (Point(1), Point),
    (Point(1, 2.5), Point),
    (Renamed("a"), Renamed),
    ({"title": "M", "year": 1}, Movie),
    (Pair(1, "r"), Pair),
    (Uncompared(1, Decimal("1.5")), Uncompared),
    (Box(Item("a")), Box[Item]),
    (Box(1), Box[int]),
    (Color.RED, Color),
    (Access(3), Access),
    (dt.timedelta.max, dt.timedelta),
    (dt.timedelta.min, dt.timedelta),
    (Decimal("-1E+30"), Decimal),
    (dt.datetime(2026, 1, 2, tzinfo=dt.timezone(-dt.timedelta(hours=5, minutes=30))), dt.datetime),
    (dt.time(1, tzinfo=dt.UTC), dt.time),
    (dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=2))), dt.time),
    (dataclasses.replace(everything(), clock=dt.time(1, tzinfo=dt.UTC)), Everything),
    ({1, 2}, set[int]),
    ((1, "a"), tuple[int, str]),
    (b"\0", bytes),
    ({1: Item("a")}, dict[int, Item]),
    ({Color.RED: 1}, dict[Color, int]),
    ({ID: dt.date(2026, 1, 2)}, dict[UUID, dt.date]),
    ([Item("a")], list[Item]),
    (None, Optional[Item]),  # noqa: UP045
    (Item("a"), Item | None),
    (5, Annotated[int, ["unhashable"]]),
    ("a", Literal["a", "b"]),
    (User(name="u", years=3), User),
    ([User(name="u")], list[User]),
    (User(name="u"), User | None),
    (None, User | None),
    (Parsing.model_validate({"parsed": "[1]"}), Parsing),
    (Wrapped[int](content=1), Wrapped[int]),
    (Wrapped[User](content=User(name="u")), Wrapped[User]),
    (Team(User(name="l"), [User(name="m")], None), Team),
    (Team(User(name="l"), [], User(name="d", joined=dt.datetime(2026, 1, 2))), Team),
]


@pytest.mark.parametrize(("value", "as_"), TYPED, ids=lambda value: repr(value)[:20])
def test_value_reads_back_as_its_own_type(value: Any, as_: Any) -> None:
    back = codec.decode(codec.encode(value), as_, key="k")
    assert back == value
    assert type(back) is type(value)


def test_frozenset_as_a_set_and_bytearray_as_bytes_in_typed_fields() -> None:
    value = everything()
    value.tags, value.data = frozenset(value.tags), bytearray(value.data)  # type: ignore[assignment]
    assert codec.decode(codec.encode(value), Everything, key="k") == everything()


def test_attrs_object_with_a_cached_property() -> None:
    value = Loose(0)
    assert value.cached == 0
    assert codec.decode(codec.encode(value), Loose, key="k") == value


def test_field_declared_as_any_reads_back_as_its_json() -> None:
    cart = codec.decode(codec.encode(Cart(1, extra=({Item("a").sku}, ID))), Cart, key="k")
    assert cart == Cart(1, extra=[["a"], str(ID)])


def test_object_of_a_class_without_eq_reads_back() -> None:
    value = Blind(dt.datetime(2026, 1, 2), 1.5, [Item("a")])
    back = codec.decode(codec.encode([value]), list[Blind], key="k")[0]
    assert vars(back) == vars(value)


@dataclasses.dataclass(eq=False)
class Incomparable:
    number: int = 0

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("51927")


@pytest.mark.parametrize("make", [lambda item: [item], lambda item: {"a": (item,)}])
def test_object_whose_eq_raises_reads_back(make: Callable[[Any], Any]) -> None:
    plain = codec.decode(codec.encode(make(Incomparable(5))), key="k")
    assert plain == codec.decode(codec.encode(make({"number": 5})), key="k")


@pytest.mark.parametrize("cls", [dt.datetime, FakeDatetime])
@pytest.mark.parametrize("fold", [0, 1])
def test_ambiguous_local_time_keeps_its_utc_offset(fold: int, cls: type[dt.datetime]) -> None:
    ambiguous = cls(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
    for value, as_ in [
        (ambiguous, dt.datetime),
        (Blind(ambiguous), Blind),
        (Box(ambiguous), Box[dt.datetime]),
    ]:
        back = codec.decode(codec.encode(value), as_, key="k")
        back = getattr(back, "when", None) or getattr(back, "content", back)
        assert back.utcoffset() == ambiguous.utcoffset()
        assert back.replace(tzinfo=None) == ambiguous.replace(tzinfo=None, fold=0)


def test_value_of_the_maximum_depth_reads_back() -> None:
    value: Any = 1
    for _ in range(codec.MAX_DEPTH // 2):
        value = [{"a": value}]
    assert codec.decode(codec.encode(value), key="k") == value


def test_large_object_reads_back() -> None:
    cart = Cart(1, [Item(str(n), n, n / 4, None if n % 2 else "note") for n in range(5000)])
    assert codec.decode(codec.encode(cart), Cart, key="k") == cart


def test_namedtuples_with_the_same_fields_stay_two_types() -> None:
    assert codec.decode(codec.encode(OtherPair(1)), OtherPair, key="k") == OtherPair(1)


def test_codec_imports_neither_pydantic_nor_attrs() -> None:
    code = (
        "import sys, django_persist.codec as c; c.encode({'a': object.__name__});"
        "assert not {'pydantic', 'attrs', 'attr'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cache_of_types_is_bounded() -> None:
    from django_persist.codec import types

    for number in range(types.CACHED_TYPES + 10):
        codec.check_type(Annotated[int, number])
    assert types.cached_type_info.cache_info().currsize <= types.CACHED_TYPES


def test_mismatch_error_is_a_decode_error() -> None:
    assert issubclass(codec.MismatchError, DecodeError)
