"""Each public name, setting, check and command is documented; public names have docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core import management
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

import django_persist
from django_persist import exceptions, testing
from django_persist.conf import STORE_SETTINGS
from django_persist.contrib import idempotency, lock, one_time, rate_limit, rest
from django_persist.contrib.lock import Lease, Lock
from django_persist.contrib.one_time import OneTimeCode, OneTimeToken
from django_persist.drivers.base import Driver
from tests.docs.pages import PAGES, ROOT

CONTRIB = (idempotency, lock, one_time, rate_limit, rest)
PACKAGE = ROOT / "django_persist"
REFERENCE = ROOT / "docs/reference"
SOURCES = [page.read_text() for page in PACKAGE.rglob("*.py")]
COMMANDS = [
    page.stem for page in (PACKAGE / "management/commands").glob("*.py") if page.stem != "__init__"
]
DIRECTIVE = re.compile(
    r"^\.\. (?:auto)?(\w+):: ([\w.]+)(?:\(\))?\n((?: +:[^\n]*\n)*)", re.MULTILINE
)


def documented() -> Iterator[str]:
    """Yield the full names that the pages document with a directive, including members."""
    for page in PAGES:
        module = ""
        for kind, name, options in DIRECTIVE.findall(page.read_text()):
            full = name if name.startswith("django_persist.") else f"{module}.{name}"
            if kind == "currentmodule":
                module = name
                continue
            yield full
            if ":members:" in options:
                yield from (f"{full}.{member}" for member in members(resolve(full)))


def resolve(name: str) -> Any:
    """Return the object of a full name."""
    parent, _, last = name.rpartition(".")
    try:
        return getattr(import_module(parent), last)
    except ModuleNotFoundError:
        return getattr(resolve(parent), last)
    except AttributeError:
        return import_module(name)


def members(of: Any) -> list[str]:
    """Return the public names of a class that our code defines, or the classes of a module."""
    if inspect.ismodule(of):
        return [
            name
            for name, value in vars(of).items()
            if inspect.isclass(value) and value.__module__ == of.__name__
        ]
    ours = [cls for cls in of.__mro__ if cls.__module__.startswith("django_persist")]
    names = {name for cls in ours for name in vars(cls) if not name.startswith("_")}
    # A name that a store doesn't have, such as `delete`, is only there to say so.
    return sorted(name for name in names if hasattr(of, name))


def public() -> list[str]:
    names = [f"django_persist.{name}" for name in django_persist.__all__]
    names += [f"django_persist.Store.{name}" for name in members(django_persist.Store)]
    names += [f"django_persist.exceptions.{name}" for name in members(exceptions)]
    names += [f"django_persist.drivers.base.Driver.{name}" for name in members(Driver)]
    names += [f"django_persist.testing.{name}" for name in testing.__all__]
    names += [
        "django_persist.panels.PersistPanel",
        "django_persist.Item.ttl",
        "django_persist.cache.MemoryCache",
        "django_persist.cache.PersistCache",
        "django_persist.cluster.ClusterConnectionFactory",
        "django_persist.contract.DriverContract",
        *(f"{module.__name__}.{name}" for module in CONTRIB for name in module.__all__),
        *(
            f"{cls.__module__}.{cls.__qualname__}.{name}"
            for cls in (Lease, Lock, OneTimeCode, OneTimeToken)
            for name in members(cls)
        ),
        "django_persist.drivers.base.Place",
        "django_persist.drivers.base.Stored",
        "django_persist.drivers.database.DatabaseDriver",
        "django_persist.drivers.memory.MemoryDriver",
        "django_persist.drivers.redis.RedisDriver",
        "django_persist.http.HttpRequest",
        "django_persist.middleware.PersistMiddleware",
    ]
    return names


def test_each_public_name_is_in_the_reference() -> None:
    assert len(public()) > 60
    assert set(public()) - set(documented()) == set()


@pytest.mark.parametrize("name", public())
def test_each_public_name_has_a_docstring(name: str) -> None:
    # autodoc leaves out what has no docstring. The reference describes plain values itself.
    thing = resolve(name)
    if inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, property):
        assert inspect.getdoc(thing)


def test_each_setting_is_in_the_reference() -> None:
    page = (REFERENCE / "settings.md").read_text()
    settings = {name for source in SOURCES for name in re.findall(r'"(PERSIST\w*)"', source)}
    assert "PERSIST" in settings
    for name in [*STORE_SETTINGS, *settings]:
        assert f"`{name}`" in page


def test_each_check_is_in_the_reference() -> None:
    used = {name for source in SOURCES for name in re.findall(r"django_persist\.[EW]\d+", source)}
    terms = re.findall(
        r"^`(django_persist\.[EW]\d+)`", (REFERENCE / "checks.md").read_text(), re.MULTILINE
    )
    assert len(used) > 15
    assert sorted(used) == terms


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_reference_with_its_options(name: str) -> None:
    page = (REFERENCE / "commands.md").read_text()
    own = set(_options(load_command_class("django_persist", name).create_parser("", name)))
    usual = set(_options(BaseCommand().create_parser("", "")))
    if name in find_commands(management.__path__[0]):
        usual |= set(_options(load_command_class("django.core", name).create_parser("", name)))
    assert re.search(rf"^## .*\b{name}\b", page, re.MULTILINE)
    assert [option for option in own - usual if not re.search(rf"{option}\b", page)] == []


def _options(parser: CommandParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action.choices, dict):
            for name, each in action.choices.items():
                yield name
                yield from _options(each)


def test_each_page_is_on_the_front_page() -> None:
    docs = ROOT / "docs"
    front = (docs / "index.md").read_text()
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", front))
    pages = {str(page.relative_to(docs)) for page in PAGES if docs in page.parents}
    assert pages - linked == {"index.md"}


@pytest.mark.parametrize(
    "page",
    sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")}),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_to_files_lead_to_files(page: Path) -> None:
    prose = re.sub(r"(?s)```.*?```", "", page.read_text())
    links = re.findall(r"\]\((?!\w+:|#)([^)#]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []
