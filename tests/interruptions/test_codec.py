"""A time limit ends an encoding whenever it comes; what a class raises refuses its value."""

from __future__ import annotations

import ctypes
import dataclasses
import random
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from django_persist import codec
from django_persist.exceptions import EncodeError
from tests.interruptions.moments import Interruption, LimitError, each_moment

FILES = (
    *(f"django_persist/codec/{name}.py" for name in ("__init__", "quick", "fidelity")),
    *("django_persist/codec/text.py", "django_persist/codec/types.py"),
    "django_persist/codec/pydantic_models.py",
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
    value: Any, error: type[BaseException]
) -> None:
    codec.encode(value)
    moments = list(each_moment(lambda: lambda: codec.encode(value), FILES, error))
    moments += each_moment(lambda: lambda: codec.encode_all([value] * 3), FILES, error)
    assert moments


@pytest.mark.parametrize("value", INVALID.values(), ids=INVALID)
def test_a_refusal_ends_wherever_it_is_interrupted(value: Any) -> None:
    def encode() -> None:
        with pytest.raises(EncodeError):
            codec.encode(value)

    assert list(each_moment(lambda: encode, FILES, LimitError))


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
        [].pop()


made: list[Raising] = []


@pytest.mark.parametrize("error", ["own", "IndexError"])
def test_what_a_class_raises_itself_refuses_its_value(error: str) -> None:
    made.clear()
    value = Raising(error)
    with pytest.raises(EncodeError, match="reading the Raising back raises"):
        codec.encode(value)


def test_an_exception_that_is_thrown_into_the_thread_ends_the_encoding() -> None:
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
