"""Write llms.txt: the front page's list of pages, with links to their Markdown.

See https://llmstxt.org/.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"\]\((?!\w+:)([^)#]+\.md)")


def llms_txt(front: str, address: str) -> str:
    """Return the file for a front page in Markdown and the address of the documentation."""
    title, _, rest = front.partition("\n")
    first_paragraph = next(part for part in rest.split("\n\n") if part.strip())
    groups = rest[rest.index("\n## How to") :]
    groups = LINK.sub(lambda match: f"]({address}_sources/{match[1]}.txt", groups)
    # The format has headings of the second level only.
    groups = groups.replace("\n### ", "\n## ").replace("\n## How to\n", "")
    summary = " ".join(first_paragraph.split())
    start = f"- [Getting started]({address}_sources/getting-started.md.txt)"
    return f"{title}\n\n> {summary}\n\n{start}\n{groups.rstrip()}\n"


def write(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        front = (Path(app.srcdir) / "index.md").read_text()
        (Path(app.outdir) / "llms.txt").write_text(llms_txt(front, app.config.html_baseurl))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
