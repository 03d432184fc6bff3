"""A time limit ends an encoding whenever it comes; what a class raises refuses its value."""

from __future__ import annotations

import ctypes
import dataclasses
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from django_persist import Key, Store, codec
from django_persist.exceptions import DecodeError, EncodeError
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver
from tests.interruptions.conftest import CountInterruptions
from tests.interruptions.moments import Interruption, LimitError, each_moment

FILES = (
    *(f"django_persist/codec/{path.name}" for path in Path(codec.__file__).parent.glob("*.py")),
    "tests/interruptions/test_codec.py",
)


@dataclasses.dataclass
class Line:
    name: str
    count: int = 1

    def __post_init__(self) -> None:
        self.count = int(self.count)


@attrs.define
class Cart:
    lines: list[Line]
    at: datetime


class Point(msgspec.Struct):
    x: float


class Other(msgspec.Struct):
    y: float


class User(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def stripped(cls, name: str) -> str:
        return name.strip()


class Color(Enum):
    RED = "red"


LINE = Line("a")
VALUES: dict[str, Any] = {
    "text": "text",
    "small dict": {"a": [1, None, 2.5]},
    "large dict": {f"k{i}": {"n": i, "none": None} for i in range(70)},
    "tuple": (1, (2, 3)),
    "set": {1, 2},
    "dataclass": LINE,
    "list of dataclasses": [LINE, LINE],
    "attrs": Cart([LINE], datetime(2030, 1, 1, tzinfo=UTC)),
    "Struct": Point(1.5),
    "pydantic": User(name="a"),
    "pydantic in a dict": {"user": User(name="a"), "color": Color.RED, "sum": Decimal("1.5")},
    "keys": {1: "a", 2: "b"},
}
INVALID: dict[str, Any] = {
    "NaN": {"a": [1, float("nan")]},
    "object": [object()],
    "keys": {1: "a", "1": "b"},
    "surrogate": Line("\ud800"),
}


@pytest.mark.parametrize("error", [LimitError, Interruption])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_an_encoding_ends_wherever_it_is_interrupted(
    value: Any, error: type[BaseException], count_interruptions: CountInterruptions
) -> None:
    codec.encode(value)
    moments = list(each_moment(lambda: lambda: codec.encode(value), FILES, error))
    moments += each_moment(lambda: lambda: codec.encode_all([value] * 3), FILES, error)
    assert moments
    count_interruptions("an exception at each moment", "codec", len(moments))


@pytest.mark.parametrize("value", INVALID.values(), ids=INVALID)
def test_a_refusal_ends_wherever_it_is_interrupted(value: Any) -> None:
    def encode() -> None:
        with pytest.raises(EncodeError):
            codec.encode(value)

    assert list(each_moment(lambda: encode, FILES, LimitError))


def older(plain: Any) -> Any:
    return {"lines": [{"name": plain["name"]}], "at": "2030-01-01T00:00:00Z"}


def failing(plain: Any) -> Any:
    raise OwnError(plain["name"])


class Two(msgspec.Struct):
    """One that can't be validated: no union of two Structs without tags can."""

    either: Point | Other


CART_KEY = Key("cart", as_=Cart)
USER_KEY = Key("user", as_=dict[str, User])


def refused(error: type[Exception], call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that fails unless it raises the error."""

    def refuse() -> None:
        with pytest.raises(error):
            call()

    return refuse


READS: dict[str, Callable[[Store], Callable[[], object]]] = {
    "plain": lambda store: lambda: store.get("cart"),
    "typed": lambda store: lambda: store.get(CART_KEY, strict=True),
    "pydantic": lambda store: lambda: store.get(USER_KEY, strict=True),
    "mismatch": lambda store: refused(
        DecodeError, lambda: store.get("cart", as_=list[Line], strict=True)
    ),
    "corrupt": lambda store: refused(DecodeError, lambda: store.get("corrupt")),
    "type that can't be validated": lambda store: refused(
        TypeError, lambda: store.get("cart", as_=Two)
    ),
    "upgrade": lambda store: lambda: store.get(Key("old", as_=Cart, upgrade=older), strict=True),
    "upgrade that fails": lambda store: refused(
        DecodeError, lambda: store.get(Key("old", as_=Cart, upgrade=failing), strict=True)
    ),
    "update": lambda store: lambda: store.update(CART_KEY, lambda cart: cart),
    "update that keeps fields": lambda store: (
        lambda: store.update(
            Key("newer", as_=dict[str, Line]), lambda lines: {**lines, "b": Line("b")}
        )
    ),
    "update that keeps a model's fields": lambda store: (
        lambda: store.update(USER_KEY, lambda users: {**users, "b": User(name="b")})
    ),
    "update that can't keep fields": lambda store: refused(
        DecodeError,
        lambda: store.update(Key("list", as_=list[Line]), lambda lines: [*lines, Line("b")]),
    ),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_or_an_update_ends_wherever_it_is_interrupted(
    read: Callable[[Store], Callable[[], object]], count_interruptions: CountInterruptions
) -> None:
    store = Store(OwnMemoryDriver(Memory()))
    more = {"name": "a", "count": 1, "more": [1]}
    stored = {
        "cart": VALUES["attrs"],
        "user": {"a": {"name": "a", "more": 1}},
        "old": {"name": "a"},
        "newer": {"a": more},
        "list": [more],
    }
    store.set_many(stored)
    store.driver.set("corrupt", b"{", None)
    before = store.driver.get_items([*stored, "corrupt"])
    read(store)()
    after = store.driver.get_items([*stored, "corrupt"])

    def make_call() -> Callable[[], object]:
        store.set_many(stored)
        return read(store)

    moments = 0
    for _ in each_moment(make_call, FILES, LimitError):
        moments += 1
        assert store.driver.get_items([*stored, "corrupt"]) in (before, after)
    assert moments
    count_interruptions("an exception at each moment", "codec", moments)


class OwnError(Exception):
    pass


@dataclasses.dataclass
class Raising:
    error: str

    def __post_init__(self) -> None:
        made.append(self)
        if len(made) < 2:
            return
        if self.error == "own":
            raise OwnError
        if self.error == "OSError":
            Path("/nowhere").stat()
        [].pop()


made: list[Raising] = []


@pytest.mark.parametrize("error", ["own", "IndexError", "OSError"])
def test_what_a_class_raises_itself_refuses_its_value(error: str) -> None:
    made.clear()
    value = Raising(error)
    with pytest.raises(EncodeError, match="reading the Raising back raises"):
        codec.encode(value)


def test_an_exception_that_is_thrown_into_the_thread_ends_the_encoding(
    count_interruptions: CountInterruptions,
) -> None:
    value = [Cart([Line(f"k{i}") for i in range(20)], datetime(2030, 1, 1, tzinfo=UTC))] * 20
    ended = []

    def encode() -> None:
        try:
            while True:
                codec.encode(value)
        except BaseException as error:
            ended.append(type(error))

    for _ in range(100):
        thread = threading.Thread(target=encode)
        thread.start()
        time.sleep(random.uniform(0, 0.005))
        thrown = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(LimitError)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(*thrown) == 1
        thread.join(10)
        assert not thread.is_alive()
    assert ended == [LimitError] * 100
    count_interruptions("a thrown exception", "codec", len(ended))
