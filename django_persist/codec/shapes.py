"""Where a type has objects, and which fields they have: msgspec's view and pydantic's in one form.

`shape_of` returns a type's shape, or None for a type whose values have no objects with declared
fields inside them: plain JSON, numbers, texts, a dict of numbers.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    NewType,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typing_extensions
from msgspec import inspect

from .pydantic_models import is_model
from .types import CACHED_TYPES, type_info


@dataclasses.dataclass(slots=True, eq=False)
class Field:
    """A field: its name in Python, the keys it can have in JSON (first its own), and its shape."""

    name: str
    keys: tuple[str, ...]
    shape: Shape | None


@dataclasses.dataclass(slots=True, eq=False)
class Object:
    """A class with declared fields, in JSON an object."""

    cls: Any
    fields: tuple[Field, ...] = ()
    known: frozenset[str] = frozenset()
    """Every key that the class knows: of its fields, its tag, and of what it only writes."""
    keeps_all: bool = False
    """Whether its objects hold the fields that they don't declare (pydantic's extra="allow")."""
    tag: tuple[str, Any] | None = None
    inner: tuple[Field, ...] = ()
    """The fields that have a shape."""
    is_model: bool = False
    """Whether its values are pydantic models, which are slow to encode."""

    @property
    def runtime(self) -> type:
        """The class that objects really have: dict for a TypedDict."""
        return dict if typing_extensions.is_typeddict(self.cls) else self.cls

    def set_fields(self, fields: Iterable[Field], more: Iterable[str] = ()) -> None:
        self.fields = tuple(fields)
        self.inner = tuple(field for field in self.fields if field.shape is not None)
        self.known = frozenset((*more, *(key for field in self.fields for key in field.keys)))


@dataclasses.dataclass(slots=True, eq=False)
class Row:
    """A class with declared fields, in JSON an array: a NamedTuple, or an array-like Struct."""

    is_model: ClassVar[bool] = False
    cls: Any
    fields: tuple[Field, ...] = ()
    tag: tuple[str, Any] | None = None

    @property
    def runtime(self) -> type:
        """The class that objects really have."""
        return self.cls  # type: ignore[no-any-return]

    @property
    def offset(self) -> int:
        """How many elements stand before the first field: the tag."""
        return self.tag is not None


@dataclasses.dataclass(slots=True, eq=False)
class Map:
    """A dict with any keys."""

    is_model: ClassVar[bool] = False
    item: Shape


@dataclasses.dataclass(slots=True, eq=False)
class Array:
    """A list, a set or a tuple of any length; with `is_tuple`, a tuple with a shape per element."""

    is_model: ClassVar[bool] = False
    items: tuple[Shape | None, ...]
    is_tuple: bool = False

    def item(self, index: int) -> Shape | None:
        """Return the shape of one element."""
        if not self.is_tuple:
            return self.items[0]
        return self.items[index] if index < len(self.items) else None


@dataclasses.dataclass(slots=True, eq=False)
class Root:
    """A pydantic RootModel: in JSON it is what it holds."""

    is_model: ClassVar[bool] = True
    cls: Any
    item: Shape | None = None


@dataclasses.dataclass(slots=True, eq=False)
class OneOf:
    """A union, without the members that have no shape."""

    is_model: ClassVar[bool] = False
    members: tuple[Shape, ...] = ()


Shape: TypeAlias = Object | Row | Map | Array | Root | OneOf

_QUALIFIERS: Final = frozenset(
    getattr(module, name)
    for module in (sys.modules["typing"], typing_extensions)
    for name in ("Required", "NotRequired", "ReadOnly", "Final")
    if hasattr(module, name)
)


@lru_cache(CACHED_TYPES)
def cached_shape_of(type_: Any) -> Shape | None:
    return _Builder().from_node(type_info(type_).node)


def shape_of(type_: Any) -> Shape | None:
    """Return the shape of a type that msgspec can validate; None if it has no objects inside."""
    try:
        return cached_shape_of(type_)
    except TypeError:
        # Not hashable, like Annotated[int, [...]].
        return _Builder().from_node(type_info(type_).node)


class _Builder:
    """Builds a shape. One builder meets each class of a recursive type once."""

    def __init__(self) -> None:
        self.made: dict[Any, Shape] = {}
        # Keeps alive what `made` knows by its id.
        self.nodes: list[Any] = []

    # Types as msgspec sees them.

    def from_node(self, node: Any) -> Shape | None:
        match node:
            case inspect.Metadata():
                return self.from_node(node.type)
            case inspect.StructType(array_like=True) | inspect.NamedTupleType():
                return self.row_from_node(node)
            case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType():
                return self.object_from_node(node)
            case inspect.DictType():
                return _map(self.from_node(node.value_type))
            case inspect.TupleType():
                return _array([self.from_node(item) for item in node.item_types], is_tuple=True)
            case inspect.CollectionType():
                return _array([self.from_node(node.item_type)])
            case inspect.UnionType():
                return _one_of(map(self.from_node, node.types))
            case inspect.CustomType() if isinstance(node.cls, type) and is_model(node.cls):
                return self.model(node.cls)
        return None

    def object_from_node(self, node: Any) -> Shape:
        if (made := self.made.get(id(node))) is not None:
            return made
        cls = get_origin(node.cls) or node.cls
        shape = self.made[id(node)] = Object(cls)
        self.nodes.append(node)
        shape.tag = _tag(node)
        more = [*_write_only_names(cls), *([shape.tag[0]] if shape.tag else ())]
        shape.set_fields(self.fields_from_node(node), more)
        return shape

    def row_from_node(self, node: Any) -> Shape:
        if (made := self.made.get(id(node))) is not None:
            return made
        shape = self.made[id(node)] = Row(get_origin(node.cls) or node.cls, tag=_tag(node))
        self.nodes.append(node)
        shape.fields = self.fields_from_node(node)
        return shape

    def fields_from_node(self, node: Any) -> tuple[Field, ...]:
        return tuple(
            Field(field.name, (field.encode_name,), self.from_node(field.type))
            for field in node.fields
        )

    # Types as pydantic sees them: a model's fields, and what is inside them.

    def model(self, cls: Any) -> Shape:
        if (made := self.made.get(cls)) is not None:
            return made
        if getattr(cls, "__pydantic_root_model__", False):
            root = self.made[cls] = Root(cls)
            root.item = self.from_annotation(cls.model_fields["root"].annotation)
            return root
        shape = self.made[cls] = Object(cls, is_model=True)
        shape.keeps_all = cls.model_config.get("extra") == "allow"
        computed = cls.model_computed_fields
        more = [*computed, *(info.alias for info in computed.values() if info.alias)]
        shape.set_fields(self.fields_from_infos(cls.model_fields), more)
        return shape

    def fields_from_infos(self, infos: Mapping[str, Any]) -> list[Field]:
        return [
            Field(name, _keys(name, info), self.from_annotation(info.annotation))
            for name, info in infos.items()
        ]

    def from_annotation(self, type_: Any) -> Shape | None:
        origin, args = get_origin(type_), get_args(type_)
        if origin is Annotated or origin in _QUALIFIERS:
            return self.from_annotation(args[0])
        if origin in (Union, UnionType):
            return _one_of(map(self.from_annotation, args))
        if isinstance(type_, NewType):
            return self.from_annotation(type_.__supertype__)
        if hasattr(origin or type_, "__value__"):
            return self.alias(type_)
        cls = origin or type_
        if not isinstance(cls, type):
            return None
        if is_model(cls):
            return self.model(cls)
        if dataclasses.is_dataclass(cls) or typing_extensions.is_typeddict(cls):
            return self.object_from_hints(type_, cls, args)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self.row_from_hints(type_, cls, args)
        if not args:
            return None
        if issubclass(cls, Mapping):
            return _map(self.from_annotation(args[-1]))
        if issubclass(cls, tuple) and args[-1] is not ...:
            return _array([self.from_annotation(item) for item in args], is_tuple=True)
        return _array([self.from_annotation(args[0])]) if issubclass(cls, Iterable) else None

    def alias(self, type_: Any) -> Shape | None:
        """Return the shape of a TypeAliasType, which may contain itself."""
        if (made := self.made.get(type_)) is not None:
            return made
        shape = self.made[type_] = OneOf()
        value = type_.__value__ if get_origin(type_) is None else _specialized(type_)
        inner = self.from_annotation(value)
        shape.members = () if inner is None else (inner,)
        return shape if inner is not None else None

    def object_from_hints(self, type_: Any, cls: Any, args: tuple[Any, ...]) -> Shape:
        if (made := self.made.get(type_)) is not None:
            return made
        shape = self.made[type_] = Object(cls)
        # A dataclass with extra="allow" holds other fields too, but pydantic doesn't dump them.
        config = getattr(cls, "__pydantic_config__", None) or {}
        shape.keeps_all = config.get("extra") == "allow" and not dataclasses.is_dataclass(cls)
        infos = getattr(cls, "__pydantic_fields__", None)
        fields: Iterable[Field]
        if infos is not None and not args:
            fields = self.fields_from_infos(infos)
        else:
            fields = self.fields_from_hints(cls, args)
        shape.set_fields(fields, _write_only_names(cls))
        return shape

    def row_from_hints(self, type_: Any, cls: Any, args: tuple[Any, ...]) -> Shape:
        if (made := self.made.get(type_)) is not None:
            return made
        shape = self.made[type_] = Row(cls)
        shape.fields = tuple(self.fields_from_hints(cls, args, names=cls._fields))
        return shape

    def fields_from_hints(
        self, cls: Any, args: tuple[Any, ...], names: Iterable[str] | None = None
    ) -> Iterator[Field]:
        parameters = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
        hints = get_type_hints(cls, include_extras=True)
        if dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(cls)]
        for name in hints if names is None else names:
            hint = _substituted(hints.get(name, Any), parameters)
            keys = dict.fromkeys(key for info in _metadata(hint) for key in _keys(name, info))
            yield Field(name, tuple(keys) or (name,), self.from_annotation(hint))


def _map(item: Shape | None) -> Shape | None:
    return None if item is None else Map(item)


def _array(items: list[Shape | None], *, is_tuple: bool = False) -> Shape | None:
    return Array(tuple(items), is_tuple) if any(item is not None for item in items) else None


def _one_of(members: Iterable[Shape | None]) -> Shape | None:
    shaped = tuple(member for member in members if member is not None)
    return OneOf(shaped) if len(shaped) > 1 else next(iter(shaped), None)


def _tag(node: Any) -> tuple[str, Any] | None:
    tag_field = getattr(node, "tag_field", None)
    return None if tag_field is None else (tag_field, node.tag)


def _write_only_names(cls: type) -> Iterator[str]:
    """Yield the names that objects of a class may write, besides those it reads."""
    for base in cls.__mro__:
        # msgspec encodes the cached properties of an attrs object.
        for name, member in vars(base).items():
            if isinstance(member, cached_property):
                yield name
    if dataclasses.is_dataclass(cls):
        yield from (field.name for field in dataclasses.fields(cls))


def _keys(name: str, info: Any) -> tuple[str, ...]:
    """Return the keys under which pydantic reads or writes a field."""
    keys = [name]
    for alias in (info.alias, info.serialization_alias, info.validation_alias):
        for choice in getattr(alias, "choices", (alias,)):
            # An AliasPath begins with a key.
            key = next(iter(getattr(choice, "path", (choice,))), None)
            if isinstance(key, str):
                keys.append(key)
    return tuple(dict.fromkeys(keys))


def _metadata(hint: Any) -> Iterator[Any]:
    """Yield pydantic's FieldInfos of an annotation."""
    while get_origin(hint) in _QUALIFIERS:
        hint = get_args(hint)[0]
    if get_origin(hint) is Annotated:
        for item in get_args(hint)[1:]:
            if hasattr(item, "validation_alias"):
                yield item


def _specialized(type_: Any) -> Any:
    """Return the value of a generic TypeAliasType for the arguments that it was given."""
    alias = get_origin(type_)
    parameters = dict(zip(alias.__type_params__, get_args(type_), strict=False))
    return _substituted(alias.__value__, parameters)


def _substituted(hint: Any, parameters: Mapping[Any, Any]) -> Any:
    """Return a hint with its type variables replaced."""
    if isinstance(hint, TypeVar):
        return parameters.get(hint, Any)
    free = getattr(hint, "__parameters__", ())
    if not parameters or not free or isinstance(hint, type):
        return hint
    return hint[tuple(parameters.get(parameter, Any) for parameter in free)]
