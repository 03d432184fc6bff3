"""Make the sidebar from the front page: the same groups, with the same pages in the same order."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

LINK = re.compile(r"- \[[^]]+\]\(([^):]+)\.md\)")


def groups(front: str) -> dict[str, list[str]]:
    """Return the pages that each heading of a front page in Markdown lists."""
    found: dict[str, list[str]] = {}
    heading = group = ""
    for line in front.splitlines():
        if line.startswith("## "):
            heading = group = line.removeprefix("## ")
        elif line.startswith("### "):
            title = line.removeprefix("### ")
            group = f"{heading}: {title[0].lower()}{title[1:]}"
        elif group and (link := LINK.match(line)):
            found.setdefault(group, []).append(link[1])
    return found


def add_trees(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname != "index":
        return
    trees = {"": ["getting-started"], **groups(source[0])}
    for caption, pages in trees.items():
        option = f':caption: "{caption}"\n' if caption else ""
        source[0] += "\n```{toctree}\n" + option + ":hidden:\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_trees)
    return {"parallel_read_safe": True}
