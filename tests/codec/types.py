"""Classes of every kind that the codec supports, and some that it doesn't."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections import deque
from datetime import datetime, time
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import attrs
import msgspec
import pydantic
from django.db import models
from typing_extensions import TypedDict

T = TypeVar("T")

BY_NAME = tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 11)
"""Whether models are stored by the names of their fields: older pydantic can't."""


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.StrEnum):
    SMALL = "s"
    BIG = "b"


class Apart(str):
    """A str with another hash than its text, so that a dict can have both as keys."""

    def __hash__(self) -> int:
        return 1

    __eq__ = str.__eq__


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Status(models.TextChoices):
    OPEN = "o", "open"
    DONE = "d", "done"


class Priority(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    """An Enum whose values are of two types, which msgspec can't decode."""

    A = 1
    B = "b"


@dataclasses.dataclass
class Item:
    sku: str
    count: int = 1
    price: float = 0.0
    note: str | None = None


@dataclasses.dataclass
class GiftItem(Item):
    wrap: str = "paper"


@dataclasses.dataclass
class Cart:
    user: int
    items: list[Item] = dataclasses.field(default_factory=list)
    extra: Any = None


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass(eq=False)
class Blind:
    """A class without __eq__: two objects are never equal."""

    when: datetime | None = None
    number: float | None = 0.0
    parts: list[Item] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Uncompared:
    """A class whose == leaves out a field."""

    id: int
    amount: Decimal | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass
class Doubling:
    """A class that changes its field each time an object is created."""

    number: int

    def __post_init__(self) -> None:
        self.number *= 2


@dataclasses.dataclass
class Checked:
    """A class with constraints that only the decoder checks."""

    number: Annotated[int, msgspec.Meta(ge=0)] = 0
    size: Literal["s", "b"] = "s"

    def __post_init__(self) -> None:
        if self.number == 13:
            raise KeyError("secret")


@dataclasses.dataclass
class Unreadable:
    """A class that msgspec can't decode, as datetime and str look the same in JSON."""

    moment: datetime | str
    anything: object = None


@dataclasses.dataclass
class Line:
    queue: deque[int]


@attrs.define
class Address:
    street: str
    number: int = 1


@attrs.define
class Hidden:
    name: str
    _pin: int = 0


@attrs.define
class Positive:
    number: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.define(slots=False)
class Loose:
    """An attrs class without slots: msgspec encodes everything in __dict__, not only the fields."""

    number: int

    @functools.cached_property
    def cached(self) -> float:
        return math.nan if self.number else 0.0


class Point(msgspec.Struct):
    x: int
    y: float | msgspec.UnsetType = msgspec.UNSET


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True, tag=True, array_like=False):
    first_name: str
    last_name: str = ""


class Cat(msgspec.Struct, tag=True):
    lives: int = 9


class Dog(msgspec.Struct, tag=True):
    name: str


class Pets(msgspec.Struct):
    pets: list[Cat | Dog | int | str | None]
    best: Annotated[Cat, "best"] | None = None


@dataclasses.dataclass
class Task:
    status: Status
    priority: Priority = Priority.LOW
    seen: dict[Status, int] = dataclasses.field(default_factory=dict)


class Pair(NamedTuple):
    left: int
    right: str = ""


class OtherPair(NamedTuple):
    left: int
    right: str = ""


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@dataclasses.dataclass
class Everything:
    color: Color
    level: Level
    access: Access
    at: datetime
    clock: time
    amount: Decimal
    pair: Pair
    point: Point
    movie: Movie
    tags: set[str]
    frozen: frozenset[int]
    sized: tuple[int, str]
    many: tuple[Item, ...]
    by_id: dict[int, Item]
    data: bytes
    maybe: Item | None = None
    either: int | str | None = None


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=0, alias="years")
    joined: datetime | None = None


class Admin(User):
    rights: list[str] = []


class Wrapped(pydantic.BaseModel, Generic[T]):
    content: T


class Account(pydantic.BaseModel):
    password: pydantic.SecretStr


class Excluding(pydantic.BaseModel):
    name: str = pydantic.Field(default="", exclude=True)


class Parsing(pydantic.BaseModel):
    parsed: pydantic.Json[list[int]]


class Measure(pydantic.BaseModel):
    value: float | None = 0.0
    anything: Any = None


@dataclasses.dataclass
class Team:
    lead: User
    members: list[User] = dataclasses.field(default_factory=list)
    deputy: User | None = None
