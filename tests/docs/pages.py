"""Run the Python blocks of the documentation and check the results that their comments state.

The ```python blocks of a page run in order, in one namespace. It starts with `request` and the
usual names of a settings file. A comment after a statement is checked if the comment, or its part
before a comma, colon or semicolon, is a value, a type or an error. A block in
`<!-- python ... -->` runs but isn't shown. `<!-- not run: why -->` before a block skips it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType, UnionType
from typing import Any, NamedTuple

import pytest

from django_persist import exceptions

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]

BLOCK = re.compile(
    r"^(?P<skip>[ ]*<!-- not run: [^\n]+ -->\n+)?"
    r"(?P<indent>[ ]*)(?:```python|<!-- python)\n(?P<code>.*?)^(?P=indent)(?:```|-->)$",
    re.MULTILINE | re.DOTALL,
)
PART = re.compile(r"[,:;] |$")
RESULTS: tuple[type[ast.expr], ...] = (ast.Constant, ast.UnaryOp, ast.BinOp, ast.Call, ast.Name)
RESULTS += (ast.List, ast.Tuple, ast.Dict, ast.Set)


class Block(NamedTuple):
    """Code of a page, and the line where it begins."""

    page: Path
    line: int
    code: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in BLOCK.finditer(text):
        if match["skip"] is None:
            yield Block(page, text.count("\n", 0, match.start("code")) + 1, dedent(match["code"]))


def run(block: Block, module: ModuleType) -> set[str]:
    """Run a block in a module and check its comments; return the names that it assigns."""
    comments = dict(_comments(block.code))
    assigned = set()
    for statement in ast.parse(block.code).body:
        comment = comments.get(statement.end_lineno or statement.lineno, "")
        ast.increment_lineno(statement, block.line - 1)
        _run(statement, block.page, vars(module), comment)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            assigned.add(statement.targets[0].id)
    return assigned


def _run(statement: ast.stmt, page: Path, names: dict[str, Any], comment: str) -> None:
    expected = _expected(comment, {**vars(exceptions), **names})
    if isinstance(statement, ast.Expr):
        code = compile(ast.Expression(statement.value), page, "eval")
        _check(lambda: eval(code, names), expected)
        return
    exec(compile(ast.Module([statement], []), page, "exec"), names)
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            _check(lambda: names[name], expected)


def _check(value: Callable[[], Any], expected: list[Any]) -> None:
    match expected:
        case [type() as error] if issubclass(error, Exception):
            with pytest.raises(error):
                value()
        case [type() | UnionType() as kind]:
            assert isinstance(value(), kind)
        case [wanted]:
            actual = value()
            assert (type(actual), actual) == (type(wanted), wanted)
        case _:
            value()


def _comments(code: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment that follows code."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            yield token.start[0], token.string.lstrip("# ")


def _expected(comment: str, names: Mapping[str, Any]) -> list[Any]:
    """Return the result that a comment begins with, in a list, or an empty list."""
    for end in sorted((match.start() for match in PART.finditer(comment)), reverse=True):
        try:
            result = ast.parse(comment[:end].removeprefix("raises "), mode="eval")
            if isinstance(result.body, RESULTS):
                return [eval(compile(result, "<comment>", "eval"), dict(names))]
        except (SyntaxError, NameError):
            continue
    return []
