"""What a stored value has and its type doesn't know: found by reads, kept by writes of `update`.

While old and new code run side by side, new code stores fields that the classes of old code don't
have. Decoding leaves them out, so a value that old code reads, changes and writes would lose them.

`find` walks through the stored JSON beside the value that was read from it, and returns the fields
that no class there knows. `Kept.merged` puts them into the JSON of the new value, wherever it still
has an object of that class in that place. In a list, tuple or set there is no such place, since the
new value may have its elements in another order: there it raises DecodeError instead of losing
fields.

A field is unknown if the class doesn't declare it, and doesn't write it either. A key of a dict is
never unknown, nor is a declared field that the new value lacks: whoever removed those meant it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from ..exceptions import DecodeError
from ..interruptions import raise_if_from_outside
from .shapes import Array, Field, Map, Object, OneOf, Root, Row, Shape, cached_shape_of, shape_of
from .text import from_text, to_text
from .types import type_name

_UNPAIRED: Final[Any] = object()
"""In place of a value or an encoding that can't be found for a part of the stored JSON."""

_Step: TypeAlias = Field | tuple[int, Field] | str | None


@dataclass(slots=True)
class Kept:
    """An object, or a container of objects, somewhere in which there are unknown fields."""

    cls: type
    """Of which class the new value has to be in this place."""
    name: str
    unknown: dict[str, Any] = dataclasses.field(default_factory=dict)
    inner: dict[_Step, Kept] = dataclasses.field(default_factory=dict)
    """By Field in an object, index and Field in a Row, key in a Map, and None in a Root."""
    refused: tuple[str, str] | None = None
    """Below which path, and of which class, there are unknown fields that have no place."""

    def first(self) -> tuple[str, str]:
        """Return the path and the class of the first object that has unknown fields."""
        if self.refused is not None:
            return self.refused
        for key, inner in () if self.unknown else self.inner.items():
            path, name = inner.first()
            return _path(key) + path, name
        return "", self.name

    def merged(self, text: bytes, value: Any, *, key: object) -> bytes:
        """Return the text of the new value with the unknown fields.

        `value` is what was read from `text`. Raises DecodeError where they have no place.
        """
        plain = from_text(text)
        return to_text(plain) if self._merge(plain, value, "$", key) else text

    def _merge(self, plain: Any, value: Any, path: str, key: object) -> bool:
        """Put the unknown fields into `plain`; return whether that changed it."""
        if type(value) is not self.cls:
            return False
        if self.refused is not None:
            # Of an array without elements nothing is left that could have had the fields.
            return bool(plain) and self._refuse(path, key)
        changed = False
        if isinstance(plain, dict):
            for name, item in self.unknown.items():
                changed |= plain.setdefault(name, item) is item
        for step, inner in self.inner.items():
            changed |= self._merge_inner(plain, value, step, inner, path + _path(step), key)
        return changed

    def _merge_inner(
        self, plain: Any, value: Any, step: _Step, inner: Kept, path: str, key: object
    ) -> bool:
        if step is None:
            return inner._merge(plain, value.root, path, key)
        if isinstance(step, tuple):
            index, field = step
            if not isinstance(plain, list) or index >= len(plain):
                return False
            return inner._merge(plain[index], _field_value(value, field), path, key)
        if not isinstance(plain, dict):
            return False
        if isinstance(step, str):
            item = _values_by_key(value).get(step)
            return step in plain and inner._merge(plain[step], item, path, key)
        item = _field_value(value, step)
        name = next((name for name in step.keys if name in plain), None)
        if name is not None:
            return inner._merge(plain[name], item, path, key)
        if type(item) is not inner.cls:
            return False
        # The encoding leaves out a field that equals its default. With fields of its own it has to
        # be there, complete, so that it can be read back.
        whole = from_text(to_text(item))
        changed = inner._merge(whole, item, path, key)
        if changed:
            plain[step.keys[0]] = whole
        return changed

    def _refuse(self, path: str, key: object) -> NoReturn:
        below, name = self.first()
        raise DecodeError(
            f"The value of {str(key)!r} has fields that {name} doesn't know, at {path}{below}. "
            "update() can't keep them in a list, tuple or set: update the value with code that "
            "knows them, or replace it with set()."
        )


def find(text: str | bytes, value: Any, as_: Any) -> Kept | None:
    """Return what the stored text has that the type doesn't know; None if there is nothing.

    `value` is what was read from the text as the type. Raises what `from_text` raises.
    """
    try:
        # `shape_of` inlined: every update with a type comes through here.
        shape = cached_shape_of(as_)
    except TypeError:
        shape = shape_of(as_)
    if shape is None:
        return None
    # Nearly every text was written by the same code that reads it. To encode the value again and
    # compare is then several times as fast as to look at each field, except for pydantic's models.
    if not shape.is_model:
        try:
            if to_text(value) == (text if isinstance(text, bytes) else text.encode()):
                return None
        except Exception as error:
            raise_if_from_outside(error)
    plain = from_text(text)
    if _knows_all(plain, shape):
        return None
    kept = _find(plain, value, _UNPAIRED, shape)
    if kept is None:
        return None
    # A class can write fields that it doesn't declare, by a serializer of its own.
    return _find(plain, value, _encoding(value), shape)


def _knows_all(plain: Any, shape: Shape) -> bool:
    """Return whether there is certainly nothing unknown, quickly: without the values."""
    match shape:
        case Object() if isinstance(plain, dict):
            if not (shape.keeps_all or shape.known.issuperset(plain)):
                return False
            return not shape.inner or all(
                _knows_all(plain[key], field.shape)
                for field in shape.inner
                for key in field.keys
                if key in plain and field.shape is not None
            )
        case Array(items=(Object(inner=(), keeps_all=False) as item,), is_tuple=False):
            return isinstance(plain, list) and _know_all(item, plain)
        case Map(item=Object(inner=(), keeps_all=False) as item) if isinstance(plain, dict):
            return _know_all(item, plain.values())
    return not isinstance(plain, dict | list)


def _know_all(shape: Object, items: Iterable[Any]) -> bool:
    # The items that are no objects, like None, are of other members of a union.
    return all(map(shape.known.issuperset, [item for item in items if isinstance(item, dict)]))


def _encoding(value: Any) -> Any:
    try:
        return from_text(to_text(value))
    except Exception as error:
        raise_if_from_outside(error)
        return _UNPAIRED


def _find(plain: Any, value: Any, encoded: Any, shape: Shape) -> Kept | None:
    match shape:
        case Object():
            return _find_in_object(plain, value, encoded, shape)
        case Map():
            return _find_in_map(plain, value, encoded, shape)
        case Array():
            return _find_in_array(plain, value, encoded, shape)
        case Row():
            return _find_in_row(plain, value, encoded, shape)
        case OneOf():
            return _find_in_union(plain, value, encoded, shape)
        case Root():
            return _find_in_root(plain, value, encoded, shape)


def _find_in_object(plain: Any, value: Any, encoded: Any, shape: Object) -> Kept | None:
    if not isinstance(plain, dict) or not _is_of(value, shape):
        return None
    kept = Kept(_class(value, shape), type_name(shape.cls))
    if not shape.keeps_all and not plain.keys() <= shape.known:
        written = encoded if isinstance(encoded, dict) else ()
        for name, item in plain.items():
            if name not in shape.known and name not in written:
                kept.unknown[name] = item
    for field in shape.inner:
        item = _first(plain, field.keys)
        if item is not _UNPAIRED and field.shape is not None:
            inner = _find(
                item, _field_value(value, field), _first(encoded, field.keys), field.shape
            )
            if inner is not None:
                kept.inner[field] = inner
    return kept if kept.unknown or kept.inner else None


def _find_in_row(plain: Any, value: Any, encoded: Any, shape: Row) -> Kept | None:
    if not isinstance(plain, list) or not _is_of(value, shape):
        return None
    kept = Kept(_class(value, shape), type_name(shape.cls))
    known = len(shape.fields) + shape.offset
    if len(plain) > known:
        # Elements have no names by which the class could leave them alone.
        kept.refused = f"[{known}]", kept.name
        return kept
    for index, field in enumerate(shape.fields, shape.offset):
        if field.shape is not None and index < len(plain):
            inner = _find(
                plain[index], _field_value(value, field), _at(encoded, index), field.shape
            )
            if inner is not None:
                kept.inner[index, field] = inner
    return kept if kept.inner else None


def _find_in_map(plain: Any, value: Any, encoded: Any, shape: Map) -> Kept | None:
    if not isinstance(plain, dict):
        return None
    kept = Kept(_class(value, shape), "dict")
    values = _values_by_key(value)
    if len(values) == len(plain):
        for item, (key, inner_value) in zip(plain.values(), values.items(), strict=True):
            inner = _find(item, inner_value, _first(encoded, (key,)), shape.item)
            if inner is not None:
                kept.inner[key] = inner
        return kept if kept.inner else None
    # Keys that differ in the text, like a UUID in upper and in lower case, have become one.
    for item in plain.values():
        inner = _find(item, _UNPAIRED, _UNPAIRED, shape.item)
        if inner is not None:
            path, name = inner.first()
            kept.refused = "[...]" + path, name
            return kept
    return None


def _find_in_array(plain: Any, value: Any, encoded: Any, shape: Array) -> Kept | None:
    if not isinstance(plain, list):
        return None
    # The members of a set have no order, so it isn't known which element became which.
    values = list(value) if isinstance(value, Collection) and not isinstance(value, Set) else []
    is_paired = len(values) == len(plain)
    for index, item in enumerate(plain):
        item_shape = shape.item(index)
        if item_shape is not None:
            inner_value = values[index] if is_paired else _UNPAIRED
            inner = _find(item, inner_value, _at(encoded, index), item_shape)
            if inner is not None:
                path, name = inner.first()
                return Kept(_class(value, shape), "list", refused=(f"[{index}]{path}", name))
    return None


def _find_in_root(plain: Any, value: Any, encoded: Any, shape: Root) -> Kept | None:
    if shape.item is None:
        return None
    inner = _find(plain, getattr(value, "root", _UNPAIRED), encoded, shape.item)
    if inner is None:
        return None
    return Kept(_class(value, shape), type_name(shape.cls), inner={None: inner})


def _find_in_union(plain: Any, value: Any, encoded: Any, shape: OneOf) -> Kept | None:
    kept: Kept | None = None
    for member in shape.members:
        if _may_be(plain, value, member):
            kept = _find(plain, value, encoded, member)
            if kept is None:
                return None
    return kept


def _may_be(plain: Any, value: Any, shape: Shape) -> bool:
    """Return whether `value`, read from `plain`, can be of this member of a union."""
    match shape:
        case Object():
            if shape.tag is not None and isinstance(plain, dict):
                name, tag = shape.tag
                return plain.get(name, tag) == tag and _is_of(value, shape)
            if shape.runtime is dict and isinstance(value, dict):
                # A TypedDict's object has only keys that it declares.
                return value.keys() <= {field.name for field in shape.fields}
            return isinstance(plain, dict) and _is_of(value, shape)
        case Row():
            return isinstance(plain, list) and _is_of(value, shape)
        case Map():
            if isinstance(value, Mapping) and isinstance(plain, dict):
                return len(value) == len(plain)
            return isinstance(plain, dict) and value is _UNPAIRED
        case Array():
            return isinstance(plain, list)
        case Root():
            return value is _UNPAIRED or type(value) is shape.cls
        case OneOf():
            return True


def _is_of(value: Any, shape: Object | Row) -> bool:
    """Return whether a value is an object of the class, as far as that is known."""
    return value is _UNPAIRED or isinstance(value, shape.runtime)


def _class(value: Any, shape: Shape) -> type:
    if value is not _UNPAIRED:
        return type(value)
    # Below an array, where what is found is refused whatever the new value is.
    return shape.runtime if isinstance(shape, Object | Row) else object


def _field_value(value: Any, field: Field) -> Any:
    if isinstance(value, dict):
        return value.get(field.name, _UNPAIRED)
    return getattr(value, field.name, _UNPAIRED)


def _first(plain: Any, keys: tuple[str, ...]) -> Any:
    """Return what is under the first of these keys that a JSON object has."""
    if isinstance(plain, dict):
        for key in keys:
            if key in plain:
                return plain[key]
    return _UNPAIRED


def _at(plain: Any, index: int) -> Any:
    return plain[index] if isinstance(plain, list) and index < len(plain) else _UNPAIRED


def _values_by_key(value: Any) -> dict[str, Any]:
    """Return the values of a dict by the keys that it has in JSON."""
    if not isinstance(value, Mapping):
        return {}
    return {
        key if type(key) is str else next(iter(from_text(to_text({key: None})))): item
        for key, item in value.items()
    }


def _path(step: _Step) -> str:
    """Return a step as it is written in a path. The key of a dict can be data."""
    if isinstance(step, Field):
        return f".{step.name}"
    if isinstance(step, tuple):
        return f"[{step[0]}]"
    return "" if step is None else "[...]"
