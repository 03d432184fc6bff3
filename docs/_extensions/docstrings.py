"""Show docstrings as they are meant: examples as code, and only the parameters that one passes."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

REFUSED = re.compile(r"(, \*)?, timeout: ~?[\w.]*Never = [\w.]+")
"""A parameter that is only there to be refused with a hint."""


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


def hide_refused(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    if not signature or not REFUSED.search(signature):
        return None
    return REFUSED.sub("", signature), returns


def setup(app: Sphinx) -> dict[str, bool]:
    # Before the exceptions are marked up, which must not happen in code.
    app.connect("autodoc-process-docstring", show_code, priority=400)
    app.connect("autodoc-process-signature", hide_refused)
    return {"parallel_read_safe": True}
