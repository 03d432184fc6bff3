"""The keys, values and types that the machine passes, each with the expected result."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.utils.safestring import mark_safe
from hypothesis import strategies as st

from django_persist import Key
from django_persist.exceptions import EncodeError, InvalidKeyError, ValueTooLargeError
from tests.codec.types import BY_NAME, Cart, Color, Item, Level, Movie, Pair, Point, User
from tests.machine.expires import Expires
from tests.machine.weighted import weighted

LIMIT: Final = 4000
"""MAX_VALUE_BYTES of the store."""

LONGEST: Final = 255
"""The longest key, in characters."""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else f"{text[:60]}…{len(text)}"


# Keys.

FAMILIES: Final = [
    ["a", "A", "a ", " a", "a\t", "a\n", "ä", "a\u0308", "ａ", "a\u200b", "\ufeffa", "а"],
    ["ss", "ß", "ẞ", "i", "İ", "ı", "ﬁ", "fi", "1", "01", "١", "1.0", "null"],
    ["a", "a%", "a_", "a*", "a?", "[a]", "a[b]", "[^a]", "\\", "a\\*", "a-b", "%s", "%(key)s"],
    ["'", '"', "`", "';--", "{a}", "{}", "a:b", ":", "::", "a:", "\x01", "\x7f", "\u2028"],
    ["a", "n:a", "n:m:a", "n%3Am:a", "7:a", "n", "n:", "m:a"],
    ["\ud7ff", "\ue000", "\uffff", "\U0010ffff", "a\U0010ffff", "😀", "😁", "👩‍👧", "é"],
    ["k" * LONGEST, "😀" * LONGEST, "k" * (LONGEST - 2), "é" * (LONGEST - 4)],
]
"""Families of keys that a database or a pattern could confuse."""

texts: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
some_texts: Final = st.sampled_from(FAMILIES).flatmap(
    lambda family: st.lists(st.sampled_from(family), min_size=1, max_size=3, unique=True)
)


@dataclass(frozen=True)
class Name:
    """A key as the caller passes it: a str, or a Key with a type and a lifetime."""

    arg: Any
    text: str
    form: Any = None
    expires: Expires | None = None
    error: type[Exception] | None = None

    def __repr__(self) -> str:
        return _short(self.arg)


def plain_name(text: str) -> Name:
    return Name(text, text)


def typed_name(text: str, form: Any, expires: Expires) -> Name:
    return Name(Key(_template(text), as_=form, expires=expires.arg), text, form, expires)


def upgraded_name(text: str, form: Any, upgrade: Callable[[Any], Any]) -> Name:
    return Name(Key(_template(text), as_=form, upgrade=upgrade), text, form)


def _template(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


INVALID_NAMES: Final = [
    *(
        Name(text, text, error=InvalidKeyError)
        for text in ("", "\0", "a\0", "\ud800", "a\udfff", "k" * (LONGEST + 1), "😀" * 256)
    ),
    Name(Key("a:{b}"), "", error=InvalidKeyError),
    *(Name(arg, "", error=TypeError) for arg in (None, 1, b"a", ("a",), True)),
]

# What the keys of a namespace begin with, by the parts of its name.
NAMESPACES: Final[dict[tuple[str | int, ...], str]] = {
    (): "",
    ("n",): "n:",
    ("n", "m"): "n:m:",
    ("n:m",): "n%3Am:",
    (7,): "7:",
}

prefixes: Final = st.sampled_from(
    [
        "",
        "a",
        "A",
        "a:",
        "n:",
        "n",
        "%",
        "_",
        "*",
        "?",
        "[a]",
        "\\",
        "k",
        "😀",
        "\U0010ffff",
        "k" * 300,
    ]
) | texts.map(lambda text: text[:1])
INVALID_PREFIXES: Final[dict[Any, type[Exception]]] = {
    "\0": InvalidKeyError,
    "a\ud800": InvalidKeyError,
    None: TypeError,
    1: TypeError,
}

# Values.


@dataclass(frozen=True)
class Sample:
    """A value, its plain JSON, and the type that it reads back as."""

    value: Any
    plain: Any = None
    form: Any = None
    error: type[Exception] | None = None

    def __repr__(self) -> str:
        return _short(self.value)


def json_sample(value: Any) -> Sample:
    return Sample(value, value)


characters: Final = st.characters(exclude_categories=["Cs"])
plain: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(characters, max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)

_MOMENT: Final = dt.datetime(2030, 2, 28, 23, 59, 59, 999999, dt.UTC)
TYPED: Final = [
    Sample("x" * (LIMIT - 2), "x" * (LIMIT - 2), str),
    Sample(mark_safe("<b>"), "<b>", str),
    Sample((1, "a"), [1, "a"], tuple[int, str]),
    Sample({3, 1, 2}, [1, 2, 3], set[int]),
    Sample({1: "a", -2: "b"}, {"1": "a", "-2": "b"}, dict[int, str]),
    Sample(b"\xff\0", "/wA=", bytes),
    Sample(_MOMENT, "2030-02-28T23:59:59.999999Z", dt.datetime),
    Sample(dt.date(2028, 2, 29), "2028-02-29", dt.date),
    Sample(dt.timedelta(days=1, seconds=1), "P1DT1S", dt.timedelta),
    Sample(Decimal("1.50"), "1.50", Decimal),
    Sample(UUID(int=1), "00000000-0000-0000-0000-000000000001", UUID),
    Sample(Color.RED, "red", Color),
    Sample(Level.HIGH, 2, Level),
    Sample(Pair(1, "b"), [1, "b"], Pair),
    Sample(Point(1), {"x": 1}, Point),
    Sample(Movie(title="M"), {"title": "M"}, Movie),
    Sample(
        User(name="u", years=4),
        {"name": "u", "age" if BY_NAME else "years": 4, "joined": None},
        User,
    ),
    Sample(
        Cart(1, [Item("s", note="'\"")], [None]),
        {
            "user": 1,
            "items": [{"sku": "s", "count": 1, "price": 0.0, "note": "'\""}],
            "extra": [None],
        },
        Cart,
    ),
]
# What a counter may find.
COUNTED: Final = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**30, 1.0, -0.0]


def _cyclic() -> Any:
    loop: list[Any] = []
    loop.append({"loop": loop})
    return loop


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


UNFIT_VALUES: Final = [
    *(
        Sample(value, error=EncodeError)
        for value in (
            float("nan"),
            [float("inf")],
            Decimal("NaN"),
            "\ud800",
            {"a": object()},
            {1: "a", "1": "b"},
            {True: 1},
            Color,
            _nested(201),
            _cyclic(),
            Cart(1, extra=1j),
        )
    ),
    Sample("x" * (LIMIT - 1), error=ValueTooLargeError),
    Sample(["é" * (LIMIT // 2)], error=ValueTooLargeError),
]

valid_samples: Final = weighted(
    (5, plain.map(json_sample)),
    (3, st.integers(-5, 5).map(json_sample)),
    (5, st.sampled_from(TYPED)),
    (3, st.sampled_from([json_sample(value) for value in [*COUNTED, _nested(200)]])),
)
samples: Final = weighted((14, valid_samples), (1, st.sampled_from(UNFIT_VALUES)))

# Types.

OWN: Final = "the type of what was stored"
"""Stands for the type that the model knows for the entry."""

UNKNOWN: Final = complex
"""A type that can't be validated."""

FORMS: Final = [
    *(int, str, bool, float, int | None, list[int], dict[str, int], list[Any], set[int], str | int),
    *(Cart, Point, User, Color, dt.datetime, Decimal, tuple[int, str], Any),
]
forms: Final = weighted((4, st.none()), (4, st.just(OWN)), (3, st.sampled_from(FORMS)))
read_forms: Final = weighted((14, forms), (1, st.just(UNKNOWN)))
