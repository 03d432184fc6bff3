"""The tables of the reference say what the code says.

The pages are read as plain Markdown too, on GitHub for instance, where a directive of autodoc shows
nothing. So a table before it lists the calls, each with the first sentence of its docstring.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_names import REFERENCE, members, resolve

HINTS = {"wrong", "timeout"}
"""Parameters that are only there to say that they are wrong."""

SECTION = re.compile(
    r"(?P<prose>(?:(?!```\{eval-rst\}).)*)```\{eval-rst\}\n(?P<rst>.*?)```", re.DOTALL
)
DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>\w+):: (?P<name>[\w.]+)(?P<bare>\(\))?\n(?P<options>(?: +:[^\n]*\n)*)",
    re.MULTILINE,
)
OPTION = re.compile(r":([\w-]+): *([^\n]*)")
ROW = re.compile(r"^\| `(\w[^`]*)` \| (.*) \|$", re.MULTILINE)
PLAIN = {"data", "autodata", "class"}
"""Kinds of directives that say on the page what the thing is."""

PAGES = sorted(page for page in REFERENCE.glob("*.md") if "```{eval-rst}" in page.read_text())


def _rows(rst: str) -> Iterator[tuple[str, str | None]]:
    """Yield what a table has to say about directives: each call, and the sentence about it."""
    module = ""
    for found in DIRECTIVE.finditer(rst):
        if found["kind"] == "currentmodule":
            module = found["name"]
            continue
        full = found["name"]
        full = full if full.startswith("django_persist.") else f"{module}.{full}"
        thing, name = resolve(full), full.rpartition(".")[2]
        options = dict(OPTION.findall(found["options"]))
        if found["kind"] in PLAIN:
            yield name, None
        elif inspect.ismodule(thing):
            yield from ((each, _sentence(getattr(thing, each))) for each in members(thing))
        else:
            if name != "Store":
                yield name + ("" if found["bare"] else _signature(thing)), _sentence(thing)
            yield from _member_rows(thing, "" if name == "Store" else f"{name}.", options)


def _member_rows(
    thing: Any, prefix: str, options: dict[str, str]
) -> Iterator[tuple[str, str | None]]:
    wanted = []
    if "members" in options:
        wanted = options["members"].split(", ") if options["members"] else members(thing)
    for member in wanted:
        found = inspect.getattr_static(thing, member)
        is_property = isinstance(found, property | cached_property)
        if (inspect.isroutine(found) or is_property) and inspect.getdoc(found):
            call = prefix + member
            yield call if is_property else call + _signature(found, bound=True), _sentence(found)
    special = options.get("special-members")
    if special == "__contains__":
        yield "key in store", _sentence(thing.__contains__)
    elif special == "__call__":
        yield f"key{_signature(thing.__call__, bound=True)}", _sentence(thing.__call__)


def _signature(thing: Any, *, bound: bool = False) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return ""
    parts: list[str] = []
    for each in list(inspect.signature(thing).parameters.values())[bound:]:
        if each.name in HINTS:
            continue
        if each.kind is each.KEYWORD_ONLY and "*" not in "".join(parts):
            parts.append("*")
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(each.kind.name, "")
        parts.append(stars + each.name + _default(each.default))
    return f"({', '.join(parts)})"


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if value is None or (isinstance(value, bool | int | float | str) and len(repr(value)) < 12):
        return f"={value!r}"
    name = getattr(value, "name", "")
    return f"={name}" if name in ("DEFAULT", "KEEP") else "=..."


def _sentence(thing: Any) -> str:
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.) ", text)[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_list_each_call_with_its_signature_and_its_sentence(page: Path) -> None:
    sections = list(SECTION.finditer(page.read_text()))
    assert sections
    for section in sections:
        listed = dict(ROW.findall(section["prose"]))
        expected = dict(_rows(section["rst"]))
        rows = [f"| `{call}` | {text} |" for call, text in expected.items()]
        assert list(listed) == list(expected), "\n".join(rows)
        for call, sentence in expected.items():
            assert listed[call] == sentence or (sentence is None and listed[call]), call


def test_each_page_that_is_made_from_docstrings_has_tables() -> None:
    assert {page.stem for page in PAGES} == {
        "contrib", "drivers", "errors", "settings", "store", "testing", "tracing",
    }  # fmt: skip
