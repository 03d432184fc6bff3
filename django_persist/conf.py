"""The PERSIST setting: reads it, checks it, and makes its stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from inspect import Parameter, signature
from itertools import combinations
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

from .drivers.base import Driver
from .exceptions import InvalidExpiryError, InvalidKeyError, InvalidStoreError
from .expiry import parse
from .keys import check_characters
from .store import Store

DEFAULT_ALIAS: Final = "default"
DEFAULT_SETTING: Final = {
    DEFAULT_ALIAS: {
        "BACKEND": "django_persist.drivers.database.DatabaseDriver",
        "OPTIONS": {"using": "default"},
    }
}
STORE_SETTINGS: Final = ("BACKEND", "OPTIONS", "PREFIX", "DEFAULT_EXPIRES", "MAX_VALUE_BYTES")
MAX_PREFIX_LENGTH: Final = 64


def setting() -> Mapping[str, Any]:
    """Return the project's PERSIST, or the default.

    Raises InvalidStoreError if it is not a dict of stores, or has no store "default".
    """
    found = getattr(settings, "PERSIST", DEFAULT_SETTING)
    if not isinstance(found, Mapping) or not all(isinstance(alias, str) for alias in found):
        raise InvalidStoreError(
            "PERSIST must be a dict from aliases to dicts.",
            hint="For example: PERSIST = {'default': {'BACKEND': '...', 'OPTIONS': {}}}.",
            id="django_persist.E001",
        )
    if DEFAULT_ALIAS not in found:
        raise InvalidStoreError(
            f"PERSIST has no {DEFAULT_ALIAS!r}.",
            hint="request.persist is the store of that alias: define it.",
            id="django_persist.E001",
        )
    return found


def session_alias() -> str:
    """Return the alias that PERSIST_SESSION_STORE names. Raises InvalidStoreError if unknown."""
    alias = getattr(settings, "PERSIST_SESSION_STORE", DEFAULT_ALIAS)
    known = setting()
    if not isinstance(alias, str) or alias not in known:
        raise InvalidStoreError(
            f"PERSIST_SESSION_STORE is {alias!r}, which is not a store of PERSIST.",
            hint=suggest(alias, known),
            id="django_persist.E014",
        )
    return alias


def load(configs: Mapping[str, Any]) -> tuple[dict[str, Store], list[InvalidStoreError]]:
    """Make the stores, without I/O. Return them, and the errors of those that can't be made."""
    stores: dict[str, Store] = {}
    errors = []
    for alias, config in configs.items():
        try:
            stores[alias] = _make(f"PERSIST[{alias!r}]", config)
        except InvalidStoreError as error:
            errors.append(error)
    errors.extend(_collisions(stores))
    return stores, errors


def _make(where: str, config: Any) -> Store:
    if not isinstance(config, Mapping):
        raise InvalidStoreError(f"{where} must be a dict, not {type(config).__name__}.")
    for name in config:
        if name not in STORE_SETTINGS:
            raise InvalidStoreError(
                f"{where} has an unknown setting {name!r}.", hint=suggest(name, STORE_SETTINGS)
            )
    return Store(
        _make_driver(where, config),
        prefix=_prefix(where, config.get("PREFIX", "")),
        default_expires=_default_expires(where, config.get("DEFAULT_EXPIRES")),
        max_value_bytes=_max_value_bytes(where, config.get("MAX_VALUE_BYTES")),
    )


def _make_driver(where: str, config: Mapping[str, Any]) -> Driver:
    if "BACKEND" not in config:
        raise InvalidStoreError(
            f"{where} has no BACKEND.",
            hint="Set it to the dotted path of a driver, such as "
            f"{DEFAULT_SETTING[DEFAULT_ALIAS]['BACKEND']!r}.",
        )
    try:
        backend = import_string(config["BACKEND"])
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InvalidStoreError(
            f"{where}['BACKEND'], {config['BACKEND']!r}, can't be imported: {error}.",
            hint="Check the dotted path; RedisDriver needs django-persist[redis].",
            id="django_persist.E003",
        ) from error
    if (
        not (isinstance(backend, type) and issubclass(backend, Driver))
        or backend.__abstractmethods__
    ):
        raise InvalidStoreError(
            f"{where}['BACKEND'], {config['BACKEND']!r}, is not a driver.",
            hint="Name a class that implements django_persist.drivers.base.Driver.",
            id="django_persist.E003",
        )
    options = config.get("OPTIONS", {})
    _check_options(f"{where}['OPTIONS']", backend, options)
    try:
        return backend(**options)
    except InvalidStoreError as error:
        raise InvalidStoreError(
            f"{where}['OPTIONS']: {error.message}", hint=error.hint, id=error.id
        ) from error


def _check_options(where: str, backend: type[Driver], options: Any) -> None:
    """Reject options that don't match the driver's signature, with a message that names them."""
    if not isinstance(options, Mapping):
        raise InvalidStoreError(
            f"{where} must be a dict, not {type(options).__name__}.", id="django_persist.E004"
        )
    parameters = signature(backend).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise InvalidStoreError(
                f"{where} has an unknown option {name!r}.",
                hint=suggest(name, parameters),
                id="django_persist.E004",
            )
    for name, parameter in parameters.items():
        if parameter.default is Parameter.empty and name not in options:
            raise InvalidStoreError(
                f"{where} has no {name!r}, which {backend.__name__} needs.",
                id="django_persist.E004",
            )


def _prefix(where: str, prefix: Any) -> str:
    if not isinstance(prefix, str):
        raise InvalidStoreError(f"{where}['PREFIX'] must be a str, not {type(prefix).__name__}.")
    if len(prefix) > MAX_PREFIX_LENGTH:
        raise InvalidStoreError(
            f"{where}['PREFIX'] has {len(prefix)} characters.",
            hint=f"It can have at most {MAX_PREFIX_LENGTH}.",
        )
    try:
        return check_characters(prefix)
    except InvalidKeyError as error:
        raise InvalidStoreError(f"{where}['PREFIX'] is invalid: {error}") from error


def _default_expires(where: str, expires: Any) -> Any:
    try:
        if isinstance(expires, datetime):
            raise TypeError("it must be a lifetime, not a moment.")
        return parse(expires)
    except (InvalidExpiryError, TypeError) as error:
        raise InvalidStoreError(
            f"{where}['DEFAULT_EXPIRES'] is invalid: {error}",
            hint="Use a timedelta or seconds, or leave it out for never.",
        ) from error


def _max_value_bytes(where: str, limit: Any) -> int | None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidStoreError(
            f"{where}['MAX_VALUE_BYTES'] must be a positive int.",
            hint="Leave it out for no limit except the drivers' own.",
        )
    return limit


def _collisions(stores: Mapping[str, Store]) -> Iterator[InvalidStoreError]:
    """Yield an error for each two stores of which one would list and clear the other's entries."""
    for (alias, store), (other_alias, other) in combinations(stores.items(), 2):
        place, other_place = store.place(), other.place()
        if place.location == other_place.location and (
            place.prefix.startswith(other_place.prefix)
            or other_place.prefix.startswith(place.prefix)
        ):
            yield InvalidStoreError(
                f"PERSIST[{alias!r}] and PERSIST[{other_alias!r}] keep their entries in the same "
                "place, so each would list and clear the other's.",
                hint="Set PREFIXes that don't begin with each other, such as 'a:' and 'b:'.",
                id="django_persist.E005",
            )


def suggest(name: Any, names: Any) -> str:
    """Return the hint for an unknown name: the closest known one, else all of them."""
    close = get_close_matches(str(name), list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(map(repr, names))}."
