"""The PERSIST setting: reads it, checks it, and makes its stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from inspect import Parameter, signature
from itertools import combinations
from typing import Any, Final, TypeVar

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from .drivers.base import Driver
from .exceptions import InvalidExpiryError, InvalidKeyError, InvalidStoreError
from .expiry import parse
from .keys import check_characters
from .store import Store

T = TypeVar("T")

PACKAGE: Final = "django_persist"
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

    Raises InvalidStoreError if it is not a dict of stores.
    """
    found = getattr(settings, "PERSIST", DEFAULT_SETTING)
    if not isinstance(found, Mapping) or not all(isinstance(alias, str) for alias in found):
        raise InvalidStoreError(
            "PERSIST must be a dict from aliases to dicts.",
            hint="For example: PERSIST = {'default': {'BACKEND': '...', 'OPTIONS': {}}}.",
            id="django_persist.E001",
        )
    return found


def session_alias() -> str:
    """Return the alias that PERSIST_SESSION_STORE names. Raises InvalidStoreError if unknown."""
    alias = getattr(settings, "PERSIST_SESSION_STORE", DEFAULT_ALIAS)
    known = setting()
    # That there is no "default" is an error of PERSIST, not of this setting.
    if not isinstance(alias, str) or alias not in (*known, DEFAULT_ALIAS):
        raise InvalidStoreError(
            f"PERSIST_SESSION_STORE is {alias!r}, which is not a store of PERSIST.",
            hint=suggest(alias, known),
            id="django_persist.E014",
        )
    return alias


def load(configs: Mapping[str, Any]) -> tuple[dict[str, Store], list[InvalidStoreError]]:
    """Make the stores, without I/O. Return them, and everything that is wrong with the setting.

    A store whose driver and PREFIX are valid is made, even if another of its settings isn't: it can
    still be checked. Nobody may use the stores if there is an error.
    """
    stores: dict[str, Store] = {}
    errors: list[InvalidStoreError] = []
    if DEFAULT_ALIAS not in configs:
        errors.append(
            InvalidStoreError(
                f"PERSIST has no {DEFAULT_ALIAS!r}.",
                hint="request.persist is the store of that alias: define it.",
                id="django_persist.E001",
            )
        )
    for alias, config in configs.items():
        store = _make(f"PERSIST[{alias!r}]", config, errors)
        if store is not None:
            stores[alias] = store
    errors.extend(_collisions(stores))
    return stores, errors


def _make(where: str, config: Any, errors: list[InvalidStoreError]) -> Store | None:
    """Make a store, and add all that is wrong with its settings to `errors`."""

    def read(setting: Callable[[], T]) -> T | None:
        try:
            return setting()
        except InvalidStoreError as error:
            errors.append(error)
            return None

    if not isinstance(config, Mapping):
        errors.append(InvalidStoreError(f"{where} must be a dict, not {type(config).__name__}."))
        return None
    errors.extend(
        InvalidStoreError(
            f"{where} has an unknown setting {name!r}.", hint=suggest(name, STORE_SETTINGS)
        )
        for name in config
        if name not in STORE_SETTINGS
    )
    driver = read(lambda: _make_driver(where, config, errors))
    prefix = read(lambda: _prefix(where, config.get("PREFIX", "")))
    default_expires = read(lambda: _default_expires(where, config.get("DEFAULT_EXPIRES")))
    max_value_bytes = read(lambda: _max_value_bytes(where, config.get("MAX_VALUE_BYTES")))
    if driver is None or prefix is None:
        return None
    return Store(
        driver, prefix=prefix, default_expires=default_expires, max_value_bytes=max_value_bytes
    )


def _make_driver(
    where: str, config: Mapping[str, Any], errors: list[InvalidStoreError]
) -> Driver | None:
    if "BACKEND" not in config:
        raise InvalidStoreError(
            f"{where} has no BACKEND.",
            hint="Set it to the dotted path of a driver, such as "
            f"{DEFAULT_SETTING[DEFAULT_ALIAS]['BACKEND']!r}.",
        )
    try:
        backend = import_string(config["BACKEND"])
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        hint = "Check the dotted path; RedisDriver needs django-persist[redis]."
        if not apps.is_installed(PACKAGE):
            # Then Django refuses to import the model of the database driver.
            hint = f"Add {PACKAGE!r} to INSTALLED_APPS."
        raise InvalidStoreError(
            f"{where}['BACKEND'], {config['BACKEND']!r}, can't be imported: {error}.",
            hint=hint,
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
    wrong = list(_wrong_options(f"{where}['OPTIONS']", backend, options))
    if wrong:
        errors.extend(wrong)
        return None
    try:
        return backend(**options)
    except InvalidStoreError as error:
        raise InvalidStoreError(
            f"{where}['OPTIONS']: {error.message}", hint=error.hint, id=error.id
        ) from error


def _wrong_options(where: str, backend: type[Driver], options: Any) -> Iterator[InvalidStoreError]:
    """Yield an error for each option that doesn't match the driver's signature."""
    if not isinstance(options, Mapping):
        yield InvalidStoreError(
            f"{where} must be a dict, not {type(options).__name__}.", id="django_persist.E004"
        )
        return
    parameters = signature(backend).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            yield InvalidStoreError(
                f"{where} has an unknown option {name!r}.",
                hint=suggest(name, parameters),
                id="django_persist.E004",
            )
    for name, parameter in parameters.items():
        if parameter.default is Parameter.empty and name not in options:
            yield InvalidStoreError(
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


def suggest(name: Any, names: Iterable[str]) -> str:
    """Return the hint for an unknown name: the known ones, and which of them it may mean."""
    known = list(names)
    close = get_close_matches(str(name), known, n=1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}Known are {', '.join(map(repr, known))}."
