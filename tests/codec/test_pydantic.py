"""pydantic models read back if pydantic can validate what it dumps; else the field is named."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import pydantic
import pytest
from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, Field, RootModel

from django_persist import codec
from django_persist.exceptions import EncodeError
from tests.codec.types import User

pytest.importorskip("pydantic", minversion="2.12", reason="2.12 has all of these settings")

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")
AMBIGUOUS = [
    dt.datetime(2026, month, day, 2, 30, tzinfo=BERLIN, fold=fold)
    for month, day in ((10, 25), (3, 29))
    for fold in (0, 1)
]


class Event(BaseModel):
    at: dt.datetime | None = None
    share: float = 0.0


class Moments(BaseModel):
    moments: set[dt.datetime] = set()
    frozen: frozenset[tuple[dt.datetime, int]] = frozenset()


class Serialized(BaseModel):
    x: int = Field(serialization_alias="y")


class Choices(BaseModel):
    x: int = Field(validation_alias=AliasChoices("a", "b"))


class Generated(BaseModel):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(
            validation_alias=lambda name: f"in_{name}", serialization_alias=str.upper
        )
    )
    x: int
    inner: Serialized | None = None


class ByNameOnly(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    x: int = Field(alias="y")


class Swapped(BaseModel):
    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Seconds(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float")
    length: dt.timedelta


class Temporal(BaseModel):
    model_config = ConfigDict(ser_json_temporal="seconds")
    at: dt.datetime
    day: dt.date
    length: dt.timedelta


class Infinite(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    numbers: list[float]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    a: int = 0


class Events(RootModel[list[Event]]):
    pass


class Computed(BaseModel):
    a: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def doubled(self) -> int:
        return 2 * self.a


class Cat(BaseModel):
    kind: Literal["cat"] = Field(default="cat", alias="type")


class Dog(BaseModel):
    kind: Literal["dog"] = Field(default="dog", alias="type")


class Pets(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


class Box(BaseModel, Generic[T]):
    content: T


@dataclasses.dataclass
class Holder:
    one: Event
    many: list[Event]
    named: dict[str, Event]


@pydantic.dataclasses.dataclass
class Line:
    sku: str
    count: int = 1


class Private(BaseModel):
    a: int = 0
    _pin: int = pydantic.PrivateAttr(default=0)


class Anything(BaseModel):
    items: list[Any] = []
    named: dict[str, Private] = {}
    event: Event | None = None


class SubEvent(Event):
    more: int = 1


class Growing(BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def grow(cls, number: int) -> int:
        return number + 1


class Secrets(BaseModel):
    unordered: set[pydantic.SecretStr] = set()
    secrets: list[pydantic.SecretStr] = []
    growing: list[Growing] = []


def private(pin: int) -> Private:
    value = Private()
    value._pin = pin
    return value


STORED: list[tuple[Any, Any]] = [
    (Serialized(x=1), {"x": 1}),
    (Choices(a=1), {"x": 1}),  # type: ignore[call-arg]
    (Generated(in_x=1, in_inner=Serialized(x=2)), {"x": 1, "inner": {"x": 2}}),  # type: ignore[call-arg]
    (ByNameOnly(x=1), {"x": 1}),  # type: ignore[call-arg]
    (Swapped(a=1, b=2), {"a": 2, "b": 1}),
    (Seconds(length=dt.timedelta(seconds=1.5)), {"length": 1.5}),
    (
        Temporal(
            at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
            day=dt.date(2026, 1, 2),
            length=dt.timedelta(seconds=5),
        ),
        {"at": 1767312000.0, "day": 1767312000.0, "length": 5.0},
    ),
    (Open(a=1, more=[1, "b"]), {"a": 1, "more": [1, "b"]}),  # type: ignore[call-arg]
    (Events([Event()]), [{"at": None, "share": 0.0}]),
    (Computed(a=1), {"a": 1}),
    (Pets(pets=[Cat(), Dog()]), {"pets": [{"kind": "cat"}, {"kind": "dog"}]}),
    (Box[int](content=1), {"content": 1}),
    (Line("a"), {"sku": "a", "count": 1}),
    (Private(), {"a": 0}),
    (Anything(named={"k": Private()}), {"items": [], "named": {"k": {"a": 0}}, "event": None}),
]


@pytest.mark.parametrize(("value", "plain"), STORED, ids=lambda value: repr(value)[:20])
def test_model_reads_back_and_is_stored_by_the_names_of_its_fields(value: Any, plain: Any) -> None:
    text = codec.encode(value)
    assert codec.decode(text, type(value), key="k") == value
    assert codec.decode(text, key="k") == plain
    assert codec.decode(codec.encode([{"a": value}]), key="k") == [{"a": plain}]
    as_: Any = list[type(value)]  # type: ignore[misc]
    assert codec.decode(codec.encode([value]), as_, key="k") == [value]


def test_model_that_is_built_when_it_is_first_used() -> None:
    class Later(BaseModel):
        model_config = ConfigDict(defer_build=True)
        a: dt.time = Field(alias="b")
        b: dt.time = Field(alias="a")

    later = codec.decode(b'{"a":"09:00:00","b":"10:00:00"}', Later, key="k")
    assert (later.a, later.b) == (dt.time(9), dt.time(10))
    later.a = dt.time(9, tzinfo=BERLIN)
    with pytest.raises(EncodeError, match=r"at \$\.a, the time would read back without"):
        codec.encode(later)


def test_infinity_and_nan_as_strings() -> None:
    value = Infinite(numbers=[math.inf, -math.inf, math.nan, 1.5])
    back = codec.decode(codec.encode(value), Infinite, key="k")
    assert repr(back) == repr(value)


@pytest.mark.parametrize("at", AMBIGUOUS, ids=str)
def test_datetime_when_the_clocks_change(at: dt.datetime) -> None:
    event = Event(at=at)
    values: list[tuple[Any, Any]] = [
        (event, lambda back: back),
        (Events([event]), lambda back: back.root[0]),
        (Box[Event](content=event), lambda back: back.content),
        (Holder(event, [], {}), lambda back: back.one),
        (Holder(Event(), [event], {}), lambda back: back.many[0]),
        (Holder(Event(), [], {"a": event}), lambda back: back.named["a"]),
        (Moments(moments={at}), lambda back: Event(at=min(back.moments))),
        (Moments(frozen=frozenset({(at, 1)})), lambda back: Event(at=min(back.frozen)[0])),
    ]
    for value, get in values:
        back = get(codec.decode(codec.encode(value), type(value), key="k")).at
        assert back.isoformat() == at.isoformat()


def test_entry_that_was_stored_by_alias_is_still_read() -> None:
    assert codec.decode(b'{"name":"u","years":3}', User, key="k") == User(name="u", years=3)
    assert codec.decode(b'{"in_x":1}', Generated, key="k").x == 1
    assert codec.decode(b'{"pets":[{"type":"dog"}]}', Pets, key="k") == Pets(pets=[Dog()])


def test_alias_that_is_the_name_of_another_field_is_not_read() -> None:
    assert codec.decode(b'{"a":1,"b":2}', Swapped, key="k") == Swapped(b=1, a=2)


@pytest.mark.parametrize(
    ("text", "as_"),
    [
        (b'{"name":"u","age":"3"}', User),
        (b'{"name":"u","years":"3"}', User),
        (b'{"length":"1.5"}', Seconds),
        (b'{"at":"1767312000","day":1767312000.0,"length":5.0}', Temporal),
        (b'{"numbers":["1.5"]}', Infinite),
    ],
)
def test_reading_still_coerces_nothing(text: bytes, as_: Any) -> None:
    with pytest.raises(codec.MismatchError):
        codec.decode(text, as_, key="k")


def test_field_added_later_to_a_model_that_dumps_seconds() -> None:
    class Later(Seconds):
        name: str = "new"

    assert codec.decode(b'{"length":1.5}', Later, key="k").name == "new"


REFUSED: list[tuple[Any, str]] = [
    (private(5), "$._pin, pydantic doesn't dump private attributes"),
    (Anything(named={"k": private(5)}), "$.named.k._pin, pydantic doesn't dump private"),
    (Anything(event=SubEvent()), "$.event, SubEvent would read back as Event"),
    (Anything(items=[1, [(1,)]]), "$.items[1][0], tuple would read back as list"),
    (Anything(items=[1, object()]), "$.items[1], this object can't be dumped"),
    (Anything(items=["geheim\ud800"]), "$.items[0], this str can't be dumped"),
    (Anything(items=[Decimal("1.5")]), "$.items[0], Decimal would read back as str"),
    (Anything(items=[{"a": b"x"}]), "$.items[0].a, bytes would read back as str"),
    (Growing(number=1), "$.number, this int would read back as a different value"),
    (Secrets(growing=[Growing(number=1)]), "$.growing[0].number, this int"),
    (
        Secrets(secrets=[pydantic.SecretStr("geheim")]),
        "$.secrets[0], this SecretStr would read back",
    ),
    (
        Secrets(unordered={pydantic.SecretStr("geheim")}),
        "$.unordered[...], this SecretStr would read back",
    ),
    ([Event(share=math.nan)], "$[0].share, the JSON that the model Event dumps"),
    (Event.model_construct(share="geheim"), "$.share, the JSON that the model Event dumps"),
    (Holder(Event(), [SubEvent()], {}), "$.many[0], SubEvent would read back as Event"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusal_names_the_field_and_the_reason(value: Any, message: str) -> None:
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    assert f"at {message}" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
