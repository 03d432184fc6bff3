"""Check the built documentation: what each page needs to be found, shared, read and corrected.

python scripts/check_docs.py docs/_build/html
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

GENERATED = {"genindex", "py-modindex", "search"}
NEEDED = ("og:title", "og:url", "og:image", "og:description", "description", "icon", "edit")
NAME = re.compile(r"(django_persist\.exceptions\.)?\w+Error")
GROUPS = ["How to: set it up", "How to: build on it", "How to: work with it"]
GROUPS += ["Reference", "Explanation"]
OURS = re.compile(r'id="django_persist\.exceptions\.(\w+Error)"')


class Page(HTMLParser):
    """What a page has in its head, its edit link, and the code that is not part of a link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.has: set[str] = set()
        self.unlinked: set[str] = set()
        self.stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("meta", "link", "a") and (found.get("content") or found.get("href")):
            for attribute in ("property", "name", "rel"):
                self.has |= set((found.get(attribute) or "").split())
        if tag not in ("meta", "link", "img", "input", "br", "hr"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        is_linked = {"a", "dt", "pre", "h1", "h2", "h3", "title"} & set(self.stack)
        if "code" in self.stack and not is_linked and NAME.fullmatch(data):
            self.unlinked.add(data.rpartition(".")[2])


def main(folder: str) -> None:
    wrong = list(_wrong(Path(folder)))
    if wrong:
        sys.exit("\n".join(wrong))


def _wrong(root: Path) -> Iterator[str]:
    ours = set(OURS.findall((root / "reference/errors.html").read_text()))
    if len(ours) < 10:
        yield "reference/errors.html documents no exceptions."
    pages = [path for path in root.rglob("*.html") if path.stem not in GENERATED]
    for path in pages:
        page, name = Page(path.read_text()), path.relative_to(root)
        missing = [each for each in NEEDED if each not in page.has]
        if missing:
            yield f"{name} lacks {', '.join(missing)}."
        if names := sorted(page.unlinked & ours):
            yield f"{name} doesn't link {', '.join(names)}."
    linked = re.findall(r"/_sources/([^)]+)\)", (root / "llms.txt").read_text())
    for each in linked:
        if not (root / "_sources" / each).is_file():
            yield f"llms.txt links to _sources/{each}, which is not there."
    if len(linked) != len(pages) - 1:  # It is the front page itself.
        yield f"llms.txt links to {len(linked)} of {len(pages) - 1} pages."
    captions = re.findall(r'class="caption-text">([^<]+)<', (root / "index.html").read_text())
    if captions != GROUPS:
        yield f"The sidebar has the groups {captions}, not {GROUPS}."
    for needed in ("copybutton.js", "_static/logo.svg", "_static/card.png"):
        if not list(root.rglob(Path(needed).name)):
            yield f"{needed} is not there."


if __name__ == "__main__":
    main(*sys.argv[1:])
