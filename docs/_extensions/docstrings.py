"""Show docstrings as they are meant: examples as code, and only the parameters that one passes."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

REFUSED = re.compile(r"(, \*)?, timeout: ~?[\w.]*Never = [\w.]+")
"""A parameter that is only there to be refused with a hint."""
FUNCTION = re.compile(r"<function (\w+)[^>]*>")
LONG_SET = re.compile(r"frozenset\(\{[^}]{40,}\}\)")


def show_code(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Make a block of code of each indented block, which would be a quotation without `::`."""
    shown: list[str] = []
    is_code = False
    for line in lines:
        if is_code and line and not line.startswith(" "):
            is_code = False
        elif not is_code and line.startswith("    ") and shown and not shown[-1]:
            is_code = True
            shown += [".. code-block:: python", ""]
        shown.append(line)
    lines[:] = shown


def shorten(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out what is refused, and the defaults of a dataclass that nobody could read."""
    if not signature:
        return None
    shown = FUNCTION.sub(r"\1", LONG_SET.sub("...", REFUSED.sub("", signature)))
    return shown.replace("= datetime.timedelta(", "= timedelta("), returns


def setup(app: Sphinx) -> dict[str, bool]:
    # Before the exceptions are marked up, which must not happen in code.
    app.connect("autodoc-process-docstring", show_code, priority=400)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True}
