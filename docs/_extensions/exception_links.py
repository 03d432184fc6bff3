"""Link each name of an exception of ours to its documentation, in pages and in docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from django_persist import exceptions

NAMES = [
    name
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and value.__module__ == exceptions.__name__
]
PLAIN = re.compile(rf"(?<![\w.`]){'(' + '|'.join(NAMES) + ')'}(?![\w`]|\.\w)")


class ExceptionLinks(SphinxTransform):
    """Makes a link of inline code that is the name of an exception."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext().removeprefix("django_persist.exceptions.")
            ancestor: Any = literal
            while ancestor is not None and not isinstance(
                ancestor, nodes.reference | pending_xref | nodes.title
            ):
                ancestor = ancestor.parent
            if name not in NAMES or ancestor is not None:
                continue
            target = f"django_persist.exceptions.{name}"
            link = pending_xref(
                "", refdomain="py", reftype="exc", reftarget=target, refdoc=self.env.docname
            )
            literal.replace_self(link)
            link += literal


def mark_up(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Put the names in a docstring, which are plain words there, in backquotes."""
    lines[:] = [line if line.startswith("    ") else PLAIN.sub(r"`\1`", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(ExceptionLinks)
    app.connect("autodoc-process-docstring", mark_up)
    return {"parallel_read_safe": True}
