"""Which field of which class a mismatch is about, for the message of the error."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from .shapes import Array, Map, Object, OneOf, Root, Row, Shape, shape_of
from .types import error_path, type_name

_UNFIT: Final = "isn't of its type"
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
# msgspec puts the name of the declared field into this message, and no value.
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def describe(error: msgspec.ValidationError, as_: Any) -> str:
    """Return where and why, like ", at $.lines[0]: the field 'sku' of Line is missing".

    Returns "" if the error doesn't say where. The text never holds a value.
    """
    path = error_path(error)
    steps = [found[1] or found[2] for found in _STEP.finditer(path)]
    missing = _MISSING.match(str(error)) if error.__cause__ is None else None
    at = f", at {path}" if path else ""
    if hasattr(error.__cause__, "errors"):
        return at + _of_model(error.__cause__, shape_of(as_), steps)
    if str(error).startswith("Object contains unknown field"):
        return ": an object has a field that its class forbids"
    if missing is not None:
        owners = _owners(shape_of(as_), [*steps, missing[1]])
        of = f" of {owners}" if owners else ""
        return f"{at or ', at $'}: the field {missing[1]!r}{of} is missing"
    while steps and not steps[-1].isidentifier():
        steps.pop()
    owners = _owners(shape_of(as_), steps) if steps else ""
    return f"{at}: the field {steps[-1]!r} of {owners} {_UNFIT}" if owners else at


def _of_model(error: Any, shape: Shape | None, steps: list[str]) -> str:
    """Return which field of a pydantic model is meant, by the names that are declared alone."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    owner, name, shapes = "", "", _follow([shape], steps)
    for step in first["loc"]:
        taken = [
            (member, *found)
            for inner in shapes
            if inner is not None
            for member in _members(inner)
            for found in _taken(member, "..." if isinstance(member, Map) else str(step))
        ]
        # What leads nowhere is the label of a union's member, or a key that nothing declares.
        if taken:
            shapes = [inner for _, _, inner in taken]
        if owners := [found for _, found, _ in taken if found]:
            owner, name = " | ".join(dict.fromkeys(owners)), str(step)
    if not owner:
        return ""
    return (
        f": the field {name!r} of {owner} {'is missing' if first['type'] == 'missing' else _UNFIT}"
    )


def _follow(shapes: list[Shape | None], steps: list[str]) -> list[Shape | None]:
    for step in steps:
        shapes = [
            inner
            for shape in shapes
            if shape is not None
            for member in _members(shape)
            for _, inner in _taken(member, step)
        ]
    return shapes


def _owners(shape: Shape | None, steps: list[str]) -> str:
    """Return the names of the classes that can have the field to which the steps lead."""
    owners = [
        owner
        for inner in _follow([shape], steps[:-1])
        if inner is not None
        for member in _members(inner)
        for owner, _ in _taken(member, *steps[-1:])
        if owner
    ]
    return " | ".join(dict.fromkeys(owners))


def _members(shape: Shape) -> list[Shape]:
    match shape:
        case OneOf():
            return [inner for member in shape.members for inner in _members(member)]
        case Root():
            return [] if shape.item is None else _members(shape.item)
    return [shape]


def _taken(shape: Shape, step: str) -> list[tuple[str, Shape | None]]:
    """Return the class that has the step as a field, or "", and the shape behind it."""
    match shape:
        case Object():
            return [
                (type_name(shape.cls), field.shape) for field in shape.fields if step in field.keys
            ]
        case Row() if step.isdigit() and int(step) - shape.offset < len(shape.fields):
            return [("", shape.fields[int(step) - shape.offset].shape)]
        case Array() if step.isdigit():
            return [("", shape.item(int(step)))]
        case Map() if step == "...":
            return [("", shape.item)]
    return []
