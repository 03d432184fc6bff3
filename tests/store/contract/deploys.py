"""What `update` keeps of a value that code with other classes has stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from django_persist import REMOVE, Store
from django_persist.contract.base import MakeStore
from django_persist.exceptions import DecodeError, ValueTooLargeError
from tests.store.contract.base import Contract


@dataclass
class DataLine:
    sku: str = "tea"


@dataclass
class DataCart:
    owner: int
    gift: DataLine | None = None
    by_id: dict[str, DataLine] = field(default_factory=dict)
    lines: list[DataLine] = field(default_factory=list)


@attrs.define
class AttrsLine:
    sku: str = "tea"


@attrs.define
class AttrsCart:
    owner: int
    gift: AttrsLine | None = None
    by_id: dict[str, AttrsLine] = attrs.field(factory=dict)
    lines: list[AttrsLine] = attrs.field(factory=list)


class StructLine(msgspec.Struct):
    sku: str = "tea"


class StructCart(msgspec.Struct, omit_defaults=True):
    owner: int
    gift: StructLine | None = None
    by_id: dict[str, StructLine] = {}
    lines: list[StructLine] = []


class ModelLine(pydantic.BaseModel):
    sku: str = "tea"


class ModelCart(pydantic.BaseModel):
    owner: int
    gift: ModelLine | None = None
    by_id: dict[str, ModelLine] = {}
    lines: list[ModelLine] = []


class DictLine(TypedDict, total=False):
    sku: str


class DictCart(TypedDict, total=False):
    owner: int
    gift: DictLine | None
    by_id: dict[str, DictLine]
    lines: list[DictLine]


KINDS: dict[str, tuple[Any, Any]] = {
    "dataclass": (DataCart, DataLine),
    "attrs": (AttrsCart, AttrsLine),
    "Struct": (StructCart, StructLine),
    "pydantic": (ModelCart, ModelLine),
    "TypedDict": (DictCart, DictLine),
}


def changed(value: Any, **fields: Any) -> Any:
    """Return an object of any of the five kinds with some of its fields changed."""
    if isinstance(value, dict):
        return {**value, **fields}
    for name, item in fields.items():
        setattr(value, name, item)
    return value


def read(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str
    home_town: DataLine | None = None


class Row(msgspec.Struct, array_like=True):
    count: int
    line: DataLine


class Frozen(msgspec.Struct, frozen=True):
    sku: str


class Defaults(msgspec.Struct, omit_defaults=True):
    number: int = 0
    line: Frozen = Frozen("tea")


class Pair(NamedTuple):
    number: int
    line: DataLine


class Card(msgspec.Struct, tag="card"):
    number: int


class Bank(msgspec.Struct, tag="bank"):
    number: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Allowing(pydantic.BaseModel, extra="allow"):
    number: int


class Forbidding(pydantic.BaseModel, extra="forbid"):
    number: int


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    number: int = 0


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    number: int = 0
    note: str = ""


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    number: int = 0


class Pets(pydantic.RootModel[dict[str, Cat | Dog]]):
    pass


@pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(extra="allow"))
class Loose:
    number: int = 0


class Holder(pydantic.BaseModel):
    loose: Loose


@dataclass(frozen=True)
class Tag:
    name: str


class Color(Enum):
    RED = "red"


@dataclass
class Painted:
    color: Color


MISMATCHES: dict[str, tuple[Any, Any, str]] = {
    "new required field": ({"gift": None}, DataCart, "the field 'owner' of DataCart is missing"),
    "the same of attrs": ({"x": 51927}, AttrsCart, "the field 'owner' of AttrsCart is missing"),
    "the same of a Struct": (
        {"x": 51927},
        StructCart,
        "the field 'owner' of StructCart is missing",
    ),
    "the same of a model": ({"x": 51927}, ModelCart, "the field 'owner' of ModelCart is missing"),
    "removed member": ({"color": "51927"}, Painted, "the field 'color' of Painted isn't"),
    "in a list": (
        {"owner": 1, "lines": [{"sku": 51927}]},
        DataCart,
        "at $.lines[0].sku: the field 'sku' of DataLine isn't",
    ),
    "in a dict of models": (
        [{"owner": 1, "by_id": {"51927": {"sku": 51927}}}],
        list[ModelCart],
        "at $[0]: the field 'sku' of ModelLine isn't",
    ),
    "renamed in JSON": ({"x": 1}, Renamed, "the field 'firstName' of Renamed is missing"),
    "of a union": ([{"type": "card"}], list[Card | Bank], "'number' of Card | Bank is missing"),
}


def plus_one(value: Any) -> Any:
    value.number += 1
    return value


class DeploysContract(Contract):
    """What `update` keeps of a value that code with other classes has stored."""

    @pytest.mark.parametrize(("cart", "line"), KINDS.values(), ids=KINDS)
    def test_an_update_keeps_what_its_class_does_not_know(
        self, store: Store, cart: Any, line: Any
    ) -> None:
        store.set(
            "a",
            {
                "owner": 1,
                "gift": {"sku": "cup", "wrap": ["red", None]},
                "by_id": {"x y": {"sku": "pot", "note": 2**70}, "gone": {"sku": "a", "note": 1}},
                "coupon": {"code": "A", "amount": 1.5},
            },
        )

        def change(old: Any) -> Any:
            by_id = {"x y": changed(read(old, "by_id")["x y"], sku="can"), "new": line(sku="b")}
            return changed(old, owner=2, by_id=by_id)

        result = store.update("a", change, as_=cart)
        stored = store.get("a")
        assert stored == {
            "owner": 2,
            "gift": {"sku": "cup", "wrap": ["red", None]},
            "by_id": {"x y": {"sku": "can", "note": 2**70}, "new": {"sku": "b"}},
            "coupon": {"code": "A", "amount": 1.5},
            **({"lines": []} if "lines" in stored else {}),
        }
        assert result == store.get("a", as_=cart)
        assert read(result, "owner") == 2

    @pytest.mark.parametrize(("cart", "line"), KINDS.values(), ids=KINDS)
    def test_what_has_no_object_any_more_is_gone(self, store: Store, cart: Any, line: Any) -> None:
        store.set("a", {"owner": 1, "gift": {"sku": "cup", "wrap": 1}, "coupon": 2})
        store.update("a", lambda old: changed(old, gift=None), as_=cart)
        store.update("a", lambda old: changed(old, gift=line(sku="new")), as_=cart)
        stored = store.get("a")
        assert (stored["gift"], stored["coupon"]) == ({"sku": "new"}, 2)
        assert store.update("a", lambda old: REMOVE, as_=cart) is None
        assert "a" not in store

    @pytest.mark.parametrize(("cart", "line"), KINDS.values(), ids=KINDS)
    def test_fields_that_have_no_place_in_a_list_are_refused(
        self, store: Store, unwritten: Store, cart: Any, line: Any
    ) -> None:
        store.set("a", {"owner": 51927, "lines": [{"sku": "a"}, {"sku": "51927", "note": "51927"}]})
        with pytest.raises(DecodeError) as caught:
            unwritten.update("a", lambda old: changed(old, owner=2), as_=cart)
        assert f"fields that {line.__name__} doesn't know, at $.lines[1]" in str(caught.value)
        assert "51927" not in str(caught.value)
        assert "note" not in str(caught.value)
        # Where no element is left, none has lost a field.
        store.update("a", lambda old: changed(old, lines=[]), as_=cart)
        assert store.get("a", as_=cart) is not None
        assert store.get("a").get("lines", []) == []

    @pytest.mark.parametrize(
        "as_", [list[DataLine], tuple[DataLine, ...], tuple[DataLine], set[Tag], list[ModelLine]]
    )
    def test_every_kind_of_array_refuses(self, store: Store, unwritten: Store, as_: Any) -> None:
        store.set("a", [{"sku": "a", "name": "b", "note": 51927}])
        with pytest.raises(DecodeError, match=r"at \$\[0\]"):
            unwritten.update("a", lambda old: old, as_=as_)

    def test_removed_keys_stay_removed(self, store: Store) -> None:
        store.set("a", {"owner": 1, "gift": None, "coupon": 1})
        store.update("a", lambda old: {"gift": None}, as_=DictCart)
        assert store.get("a") == {"gift": None, "coupon": 1}
        store.set("b", {"x": {"sku": "a", "note": 1}, "y": {"sku": "b"}})
        store.update("b", lambda old: {"y": old["y"]}, as_=dict[str, DataLine])
        assert store.get("b") == {"y": {"sku": "b"}}

    def test_without_a_type_nothing_is_unknown(self, store: Store) -> None:
        types: list[Any] = [None, Any, dict[str, Any], dict[str, int]]
        for as_ in types:
            store.set("a", {"a": 1, "b": 2})
            new: Any = store.update("a", lambda old: {"a": old["a"] + 1}, as_=as_)
            assert new == store.get("a") == {"a": 2}

    def test_renamed_fields_are_known_by_their_names_in_json(self, store: Store) -> None:
        stored = {"firstName": "A", "homeTown": {"sku": "a", "x": 1}, "first_name": 2}
        store.set("a", stored)
        store.update("a", lambda old: Renamed("B", old.home_town), as_=Renamed)
        assert store.get("a") == {**stored, "firstName": "B"}
        store.update("a", lambda old: Renamed("B"), as_=Renamed)
        assert store.get("a") == {"firstName": "B", "homeTown": None, "first_name": 2}

    def test_a_default_that_the_encoding_leaves_out_keeps_its_fields(self, store: Store) -> None:
        store.set("a", {"number": 5, "line": {"sku": "a", "note": 1}, "x": 2})
        store.update("a", lambda old: Defaults(), as_=Defaults)
        assert store.get("a") == {"line": {"sku": "tea", "note": 1}, "x": 2}
        assert store.get("a", as_=Defaults) == Defaults()

    def test_fields_of_a_row_are_found_by_their_place(self, store: Store) -> None:
        for as_ in (Row, Pair):
            store.set("a", [1, {"sku": "a", "note": 3}])
            store.update("a", lambda old, as_=as_: as_(2, DataLine("b")), as_=as_)
            assert store.get("a") == [2, {"sku": "b", "note": 3}]

    def test_more_elements_of_a_row_are_refused(self, store: Store, unwritten: Store) -> None:
        store.set("a", {"x": [1, {"sku": "a"}, 51927]})
        with pytest.raises(DecodeError, match=r"that Row doesn't know, at \$\[\.\.\.\]\[2\]"):
            unwritten.update("a", lambda old: old, as_=dict[str, Row])

    def test_keys_that_are_no_str_find_their_objects(self, store: Store) -> None:
        key = str(UUID(int=2**127 + 10)).upper()
        store.set("a", {key: {"sku": "a", "note": 1}})
        store.update("a", dict, as_=dict[UUID, DataLine])
        assert store.get("a") == {key.lower(): {"sku": "a", "note": 1}}

    @pytest.mark.parametrize("old_pet", ["cat", "dog"])
    def test_an_object_of_another_class_is_another_object(self, store: Store, old_pet: str) -> None:
        store.set("a", {"type": "card", "number": 1, "note": 1})
        store.update("a", plus_one, as_=Card | Bank)
        assert store.get("a") == {"type": "card", "number": 2, "note": 1}
        store.update("a", lambda old: Bank(3), as_=Card | Bank)
        assert store.get("a") == {"type": "bank", "number": 3}

        pet = {"kind": old_pet, "number": 1, "note": "n", "more": 1}
        store.set("b", {"pet": pet, "number": 1, "note": 2})
        store.update("b", plus_one, as_=Owner)
        assert store.get("b") == {"pet": pet, "number": 2, "note": 2}
        other: Any = Cat(kind="cat") if old_pet == "dog" else Dog(kind="dog")
        store.update("b", lambda old: Owner(pet=other), as_=Owner)
        assert store.get("b")["pet"] == other.model_dump()
        store.set("c", {"x": pet})
        store.update("c", lambda old: old, as_=Pets)
        assert store.get("c") == {"x": pet}

    @pytest.mark.parametrize("line", [DataLine, StructLine, ModelLine])
    def test_objects_beside_what_is_no_object_keep_their_fields(
        self, store: Store, unwritten: Store, line: Any
    ) -> None:
        more = {"x": None, "y": {"sku": "a", "note": 1}}
        as_: Any = dict[str, line | None]
        store.set("a", more)
        store.update("a", lambda old: {**old, "z": None}, as_=as_)
        assert store.get("a") == {**more, "z": None}
        store.set("b", [None, {}, {"sku": "a"}])
        result = store.update("b", lambda old: old[1:], as_=list[line | None])
        assert result == [line(sku="tea"), line(sku="a")]
        store.set("c", list(more.values()))
        with pytest.raises(DecodeError, match=r"at \$\[1\]"):
            unwritten.update("c", lambda old: old, as_=list[line | None])
        if line is not ModelLine:
            store.set("d", {**more, "n": 5})
            store.update("d", lambda old: {**old, "n": 6}, as_=dict[str, line | int | None])
            assert store.get("d") == {**more, "n": 6}

    def test_extra_fields_that_pydantic_does_not_dump_are_kept(self, store: Store) -> None:
        store.set("a", {"loose": {"number": 1, "x": 2}})

        def change(old: Holder) -> Holder:
            old.loose.number = 5
            return old

        updated = store.update("a", change, as_=Holder)
        assert store.get("a") == {"loose": {"number": 5, "x": 2}}
        # As a later get would return it, with the field that no other code shows.
        assert vars(updated.loose) == {"number": 5, "x": 2}

    def test_extra_fields_that_a_model_holds_are_its_own(self, store: Store) -> None:
        store.set("a", {"number": 1, "x": 2, "y": 3})

        def drop(old: Allowing) -> Allowing:
            assert old.model_extra is not None
            del old.model_extra["x"]
            return old

        store.update("a", drop, as_=Allowing)
        assert store.get("a") == {"number": 1, "y": 3}

    @pytest.mark.parametrize("as_", [Strict, Forbidding])
    def test_a_class_that_forbids_more_fields_raises(
        self, store: Store, unwritten: Store, as_: Any
    ) -> None:
        store.set("a", {"number": 1, "x51927": 51927})
        with pytest.raises(DecodeError, match=f"'a' is not of the type {as_.__name__}") as caught:
            unwritten.update("a", plus_one, as_=as_)
        assert "51927" not in str(caught.value)

    def test_each_run_keeps_what_the_last_writer_stored(self, store: Store) -> None:
        store.set("a", {"owner": 1, "coupon": 1})
        writes: list[Callable[[], None]] = [
            lambda: store.set("a", {"owner": 5, "coupon": 2}),
            lambda: store.set("a", {"owner": 7}),
        ]

        def change(old: DataCart) -> DataCart:
            if writes:
                writes.pop(0)()
            return dataclasses.replace(old, owner=old.owner + 1)

        store.update("a", change, as_=DataCart)
        stored = store.get("a")
        assert (stored["owner"], "coupon" in stored) == (8, False)

    @pytest.mark.parametrize(("stored", "as_", "words"), MISMATCHES.values(), ids=MISMATCHES)
    def test_a_mismatch_names_the_field_and_the_class(
        self,
        store: Store,
        unwritten: Store,
        caplog: pytest.LogCaptureFixture,
        stored: Any,
        as_: Any,
        words: str,
    ) -> None:
        store.set("a", stored)
        assert unwritten.get("a", as_=as_) is None
        assert words in caplog.text
        with pytest.raises(DecodeError) as caught:
            unwritten.update("a", lambda old: old, as_=as_)
        assert words in str(caught.value)
        assert "51927" not in str(caught.value) + caplog.text

    def test_what_is_kept_counts_towards_the_limit_of_a_value(
        self, store: Store, make_store: MakeStore
    ) -> None:
        stored = {"owner": 1, "coupon": 100 * "x"}
        store.set("a", stored)
        limited = make_store(max_value_bytes=100)
        with pytest.raises(ValueTooLargeError):
            limited.update("a", lambda old: dataclasses.replace(old, owner=2), as_=DataCart)
        assert store.get("a") == stored

    def test_a_default_has_nothing_to_keep(self, store: Store) -> None:
        assert store.update("a", lambda old: old, DataCart(1), as_=DataCart) == DataCart(1)
        assert store.get("a", as_=DataCart) == DataCart(1)

    def test_what_is_not_read_must_be_json_too(self, store: Store, unwritten: Store) -> None:
        full = store.keyspace.full("a")
        store.driver.set(full, b'{"owner": 1, "coupon": 1e999}', None)
        with pytest.raises(DecodeError, match="corrupt"):
            unwritten.update("a", lambda old: changed(old, owner=2), as_=DataCart)
