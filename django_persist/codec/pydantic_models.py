"""pydantic models: how they become plain JSON and back, without importing pydantic.

A model is stored by the names of its fields, whatever its aliases are, because an alias need not be
the same in both directions. pydantic before 2.11 can't validate by name: there a model is stored
by its aliases.

Entries that were stored by alias, by an older version of this package or of pydantic, are still
read, unless the alias of one field is the name of another field.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final

import msgspec

CACHED_MODELS: Final = 512

_decode: Final = msgspec.json.Decoder().decode


def is_model(cls: type) -> bool:
    """Return whether `cls` is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def dump_model(value: Any, include: set[Any] | None = None) -> Any:
    """Return a model, or some of its fields, as plain JSON.

    Raises what pydantic raises; its errors contain the value.
    """
    by_alias = not _can_use_names()
    cls: Any = type(value)
    # warnings=False because pydantic's warnings contain the value.
    if _dumps_strings(cls):
        text = value.model_dump_json(
            include=include, by_alias=by_alias, round_trip=True, warnings=False
        )
        return _decode(text)
    return value.model_dump(
        mode="json", include=include, by_alias=by_alias, round_trip=True, warnings=False
    )


def load_model(cls: Any, plain: Any) -> Any:
    """Return plain JSON as a model of the class. Raises what pydantic raises.

    It is validated strictly. What a strict model refuses, though it dumps it itself (a timedelta as
    a number), is read if pydantic coerces nothing else: the model must be dumped as the same JSON.
    """
    # pydantic's strict mode takes a date from a str only when it reads JSON text.
    return load_text(cls, msgspec.json.encode(plain))


def load_text(cls: Any, text: bytes) -> Any:
    """Return text as a model of the class, as `load_model` does.

    The text must be valid JSON: pydantic takes NaN for a number.
    """
    options = _read_options(cls)
    try:
        return cls.model_validate_json(text, strict=True, **options)
    # A ValueError is all that a ValidationError is for sure.
    except ValueError:
        value = _load_leniently(cls, text, options)
        if value is None:
            raise
        return value


def _load_leniently(cls: Any, text: bytes, options: dict[str, bool]) -> Any:
    plain = _decode(text)
    try:
        value = cls.model_validate_json(text, **options)
        by_alias = _decode(value.model_dump_json(by_alias=True, round_trip=True, warnings=False))
        same = _agree(plain, dump_model(value)) and _agree(plain, by_alias)
    except ValueError:
        return None
    return value if same else None


def _agree(one: Any, other: Any) -> bool:
    """Return whether two pieces of plain JSON are the same, apart from fields that one lacks."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return all(_agree(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    return bool(one == other)


@cache
def _can_use_names() -> bool:
    version = sys.modules["pydantic.version"].VERSION
    return tuple(map(int, version.split(".")[:2])) >= (2, 11)


@lru_cache(CACHED_MODELS)
def _read_options(cls: Any) -> dict[str, bool]:
    if not _can_use_names():
        return {}
    # The aliases are for entries that older versions stored.
    return {"by_name": True, "by_alias": not _are_ambiguous(cls)}


def _are_ambiguous(cls: Any) -> bool:
    """Return whether the alias of one field is the name of another, in a model or one inside it."""
    for fields in _field_schemas(_core_schema(cls)):
        for name, field in fields.items():
            aliases = field.get("validation_alias") or []
            for alias in [aliases] if isinstance(aliases, str) else aliases:
                first = alias if isinstance(alias, str) else alias[0]
                if first != name and first in fields:
                    return True
    return False


def has_times(cls: Any) -> bool:
    """Return whether a model, or one inside it, has a field for a time."""
    return _contains(_core_schema(cls), "type", "time")


@lru_cache(CACHED_MODELS)
def _dumps_strings(cls: Any) -> bool:
    """Return whether it dumps infinity as a string: model_dump() ignores that."""
    return _contains(_core_schema(cls), "ser_json_inf_nan", "strings")


def _core_schema(cls: Any) -> Any:
    """Return how pydantic validates a model. Raises if its annotations can't be evaluated yet."""
    # With defer_build, a model has no schema until it is used.
    if not cls.__pydantic_complete__:
        cls.model_rebuild()
    return cls.__pydantic_core_schema__


def _contains(schema: Any, name: str, value: str) -> bool:
    if isinstance(schema, dict):
        return schema.get(name) == value or any(
            _contains(inner, name, value)
            for key, inner in schema.items()
            if key not in ("metadata", "default")
        )
    return isinstance(schema, list | tuple) and any(
        _contains(inner, name, value) for inner in schema
    )


def _field_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the fields of each model within a core schema of pydantic's."""
    if isinstance(schema, dict):
        if schema.get("type") in ("model-fields", "dataclass-args", "typed-dict") and isinstance(
            schema.get("fields"), dict
        ):
            yield schema["fields"]
        for key, inner in schema.items():
            if key not in ("metadata", "default"):
                yield from _field_schemas(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from _field_schemas(inner)
