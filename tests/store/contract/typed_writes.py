"""Under a Key with a type, nothing is written that a read of the Key would not return."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import ReadOnly, TypedDict

from django_persist import Key, Store
from django_persist.exceptions import EncodeError
from tests.store.contract.base import Contract

T = TypeVar("T")


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Cart:
    lines: list[Line] = field(default_factory=list)


@dataclass
class Gift(Cart):
    to: str = "you"


@dataclass
class Box(Generic[T]):
    inside: T


class Card(msgspec.Struct, tag=True):
    number: str


class Bank(msgspec.Struct, tag=True):
    iban: str


@dataclass
class Cash:
    coins: int


@dataclass
class Cheque:
    number: str


@dataclass
class Order:
    id: int
    paid_by: Cash | Cheque


@dataclass
class Customer:
    name: str
    orders: list[Order] = field(default_factory=list)
    next: Customer | None = None


@dataclass
class Odd:
    size: complex | None = None


class Fixed(TypedDict):
    number: ReadOnly[int]


class Undefined(pydantic.BaseModel):
    number: NotThere  # type: ignore[name-defined]  # noqa: F821


@attrs.define
class Spoon:
    length: float


class User(pydantic.BaseModel):
    name: str


class Movie(TypedDict):
    title: str


class Color(Enum):
    RED = "red"


# A type, values that it takes, and values that it refuses with the path in the message.
TYPES: dict[str, tuple[Any, list[Any], list[tuple[Any, str]]]] = {
    "dataclass": (
        Cart,
        [Cart(), Cart([Line("a")]), {"lines": [{"sku": "a"}]}],
        [
            (["tea"], ""),
            ("SECRET", ""),
            (None, ""),
            ({"lines": "SECRET"}, ", at $.lines"),
            ({"lines": [{"sku": "a"}, {"sku": "b", "count": "SECRET"}]}, ", at $.lines[1].count"),
            ({"lines": [], "more": "SECRET"}, ", at $.more"),
            (Gift(to="SECRET"), ", at $.to"),
        ],
    ),
    "list": (
        list[Cart],
        [[], [Cart()], (Cart(),)],
        [
            (Cart(), ""),
            ([Cart(), 1], ", at $[1]"),
            ([Cart(), Gift(to="SECRET")], ", at $[1].to"),
            ([[Cart()]], ", at $[0]"),
        ],
    ),
    "dict": (dict[str, Cart], [{}, {"a": Cart()}], [({"SECRET": 1}, ", at $[...]")]),
    "union": (int | None, [1, None], [("SECRET", ""), (1.5, ""), (True, "")]),
    "union of Structs": (
        Card | Bank,
        [Card("1"), Bank("2")],
        [(Cart(), ""), ({"type": "SECRET"}, ", at $.type"), ("SECRET", "")],
    ),
    "generic": (Box[int], [Box(1)], [(Box("SECRET"), ", at $.inside"), (1, "")]),
    "attrs": (Spoon, [Spoon(1.5)], [(Cart(), ""), ({"length": "SECRET"}, ", at $.length")]),
    "Struct": (Card, [Card("1")], [(Bank("SECRET"), ""), (1, "")]),
    "model": (User, [User(name="a")], [(Cart(), ""), ("SECRET", "")]),
    "TypedDict": (
        Movie,
        [{"title": "a"}],
        [({}, ""), ({"title": 1}, ", at $.title"), ({"title": "a", "b": "SECRET"}, ", at $.b")],
    ),
    "Enum": (Color, [Color.RED], [("SECRET", ""), (1, "")]),
    "int": (int, [1, -(2**70)], [("SECRET", ""), (True, ""), (1.5, ""), (None, "")]),
    "str": (str, ["a"], [(1, ""), (None, ""), (["SECRET"], "")]),
    # No float has the value 2**53 + 1.
    "float": (float, [1.5, 1], [("SECRET", ""), (True, ""), (2**53 + 1, ", at $.")]),
    "floats": (
        dict[str, list[float]],
        [{"a": [1, 2**53]}],
        [({"a": [1, 2**53 + 1]}, ", at $.a[1].")],
    ),
    "set of floats": (set[float], [{1, 2.5}], [({2**53 + 1}, ", at $.")]),
    "generic of floats": (Box[float], [Box(1)], [(Box(2**53 + 1), ", at $.inside.")]),
    # "1" is read as a str.
    "key of a union": (dict[int | str, int], [{"1": 2}], [({1: 2}, ", at a key of $.")]),
    "tuple": (tuple[int, str], [(1, "a")], [((1, 2), ", at $[1]"), ((1,), ""), ("SECRET", "")]),
    "datetime": (dt.datetime, [dt.datetime(2030, 1, 1)], [(1, ""), ("SECRET", "")]),
    "constraint": (
        Annotated[int, msgspec.Meta(ge=0)],
        [0],
        [(-1, ""), ("SECRET", "")],
    ),
}


def beside_another(key: Key[Any], value: Any) -> dict[str | Key[Any], Any]:
    return {"other": 1, key: value}


WRITES: dict[str, Callable[[Store, Key[Any], Any], object]] = {
    "create": lambda store, key, value: store.create(key, value),
    "set": lambda store, key, value: store.set(key, value),
    "set_many": lambda store, key, value: store.set_many(beside_another(key, value)),
    "create_many": lambda store, key, value: store.create_many(beside_another(key, value)),
    "replace": lambda store, key, value: store.replace(key, value, "version"),
    "get_or_create": lambda store, key, value: store.get_or_create(key, value),
    "update": lambda store, key, value: store.update(key, lambda old: value, value),
}
# A type that can't be validated, a value of it, and where in it.
INVALID_TYPES: dict[str, tuple[Any, Any, str]] = {
    "dataclass": (Order, Order(1, Cash(2)), "Order.paid_by (Cash | Cheque)"),
    "inside another": (Customer, Customer("a"), "Order.paid_by (Cash | Cheque)"),
    "inside a list": (list[Customer], [], "Order.paid_by (Cash | Cheque)"),
    "union": (Cash | Cheque, Cash(1), "Cash | Cheque"),
    "list of unions": (list[Cash | Cheque], [], "Cash | Cheque"),
    "no union": (Odd, Odd(), "Odd.size (complex)"),
    "TypedDict": (Fixed, {"number": 1}, "Fixed.number (ReadOnly[int])"),
    "undefined": (Undefined, {"number": 1}, "name 'NotThere' is not defined. The reason is Undef"),
}
REFUSED = [
    pytest.param(as_, value, path, id=f"{name} {number}")
    for name, (as_, _, refused) in TYPES.items()
    for number, (value, path) in enumerate(refused)
]


class TypedWritesContract(Contract):
    """Under a Key with a type, nothing is written that a read of the Key would not return."""

    @pytest.mark.parametrize(("as_", "value", "path"), REFUSED)
    @pytest.mark.parametrize("write", WRITES)
    def test_a_value_of_another_type_is_refused_by_every_write(
        self, uncalled: Store, unwritten: Store, write: str, as_: Any, value: Any, path: str
    ) -> None:
        # Those two look for an entry first.
        store = unwritten if write in ("get_or_create", "update") else uncalled
        with pytest.raises(EncodeError) as caught:
            WRITES[write](store, Key("the:{key}", as_=as_)(key=1), value)
        message = str(caught.value)
        assert "'the:1'" in message
        assert path in message
        assert message.endswith(" Nothing was written.")
        error: BaseException | None = caught.value
        while error is not None:
            assert "SECRET" not in str(error)
            error = error.__cause__ or error.__context__

    @pytest.mark.parametrize(
        ("as_", "value"),
        [
            pytest.param(as_, value, id=f"{name} {number}")
            for name, (as_, values, _) in TYPES.items()
            for number, value in enumerate(values)
        ],
    )
    @pytest.mark.parametrize("write", [name for name in WRITES if name != "replace"])
    def test_a_value_of_the_type_is_written_and_read(
        self, store: Store, write: str, as_: Any, value: Any
    ) -> None:
        key = Key("a", as_=as_)
        WRITES[write](store, key, value)
        found = store.get(key, strict=True)
        expected = value
        if isinstance(value, dict) and as_ is Cart:
            expected = Cart([Line(**line) for line in value["lines"]])
        assert found == (list(value) if as_ == list[Cart] else expected)

    def test_update_refuses_what_fn_returns(self, store: Store, unwritten: Store) -> None:
        key = Key("a", as_=Cart)
        store.set(key, Cart())
        with pytest.raises(EncodeError, match=r"not of the type Cart, at \$\.to\. Nothing"):
            unwritten.update(key, lambda cart: Gift(cart.lines))

    def test_one_value_of_another_type_among_many_writes_none(self, uncalled: Store) -> None:
        cart, name = Key("cart:{id}", as_=Cart), Key("name", as_=str)
        mapping: dict[Any, Any] = {cart(id=1): Cart(), "plain": [1], name: "a", cart(id=2): [1]}
        for call in (uncalled.set_many, uncalled.create_many):
            with pytest.raises(EncodeError, match="'cart:2' is not of the type Cart"):
                call(mapping)

    def test_a_key_without_a_type_takes_anything(self, store: Store) -> None:
        for key in (Key("a"), Key("a", as_=Any), "a"):
            store.set(key, [Cart()])
            assert store.get("a") == [{"lines": []}]

    def test_an_object_of_the_type_itself_is_not_decoded_again(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("It was decoded again.")

        key = Key("a", as_=Cart)
        monkeypatch.setattr("django_persist.codec.decode", fail)
        store.set(key, Cart([Line("a")]))
        store.set_many({key: Cart()})
        with pytest.raises(AssertionError, match="decoded again"):
            store.set(key, {"lines": []})  # type: ignore[misc]

    @pytest.mark.parametrize(("as_", "value", "where"), INVALID_TYPES.values(), ids=INVALID_TYPES)
    @pytest.mark.parametrize("write", WRITES)
    def test_a_type_that_can_not_be_validated_is_refused_at_the_first_write(
        self, uncalled: Store, unwritten: Store, write: str, as_: Any, value: Any, where: str
    ) -> None:
        store = unwritten if write in ("get_or_create", "update") else uncalled
        for _ in range(2):
            with pytest.raises(TypeError) as caught:
                WRITES[write](store, Key("a", as_=as_), value)
            assert where in str(caught.value)
            if "|" in where and "complex" not in where:
                for way_out in ("msgspec.Struct", "tag=True", "RootModel", "discriminator"):
                    assert way_out in str(caught.value)

    def test_a_read_names_the_field_too(self, store: Store) -> None:
        store.set("a", Order(1, Cash(2)))
        with pytest.raises(TypeError, match=r"Order\.paid_by \(Cash \| Cheque\)"):
            store.get(Key("a", as_=Order))
