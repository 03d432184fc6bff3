"""The Python blocks of README.md and docs/ run and give the results in their comments."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.db.utils import ConnectionHandler
from django.test import RequestFactory

from django_persist import stores
from django_persist.conf import load
from tests.conftest import BACKENDS, DATABASE, MEMORY
from tests.docs.pages import PAGES, ROOT, Block, blocks, run

STORES: dict[str, dict[str, Any]] = {
    "default": BACKENDS["sqlite"],
    "hot": {"BACKEND": MEMORY, "OPTIONS": {"name": "docs.hot"}},
    "scratch": {"BACKEND": MEMORY, "OPTIONS": {"name": "docs.scratch"}},
}
REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:6379/9"}
WITH_BLOCKS = [page for page in PAGES if any(blocks(page))]


@pytest.fixture
def module(
    settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """The module that a page runs in, with a request and the stores that the pages use."""
    settings.PERSIST = STORES
    page = ModuleType("page_of_docs")
    # typing and pickle look up classes in sys.modules.
    monkeypatch.setitem(sys.modules, page.__name__, page)
    request: Any = RequestFactory().get("/")
    request.persist = stores["default"]
    request.user = None
    # The names that a view or a settings file would have.
    vars(page).update(
        request=request,
        INSTALLED_APPS=list(settings.INSTALLED_APPS),
        MIDDLEWARE=list(settings.MIDDLEWARE),
        CACHES={**settings.CACHES, "persist": REDIS},
    )
    yield page
    for alias in stores:
        stores[alias].clear()


def take_settings(module: ModuleType, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the PERSIST of a page, then give it stores on SQLite (`default`) and in memory."""
    databases = getattr(module, "DATABASES", {})
    with monkeypatch.context() as patched:
        known = {alias: connections.settings[alias] for alias in connections}
        patched.setattr(connections, "settings", {**ConnectionHandler(databases).settings, **known})
        patched.setattr(caches, "settings", module.CACHES)
        loaded, errors = load(module.PERSIST)
        assert errors == []
        for store in loaded.values():
            store.driver.close()
    settings.PERSIST = {
        **{
            alias: {**config, "BACKEND": MEMORY, "OPTIONS": {"name": f"docs.{alias}"}}
            for alias, config in module.PERSIST.items()
        },
        **STORES,
    }
    module.request.persist = stores["default"]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(
    page: Path, module: ModuleType, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(page):
        assigned = run(block, module)
        if "CACHES" in assigned:
            settings.CACHES = {**settings.CACHES, **module.CACHES}
        if "PERSIST" in assigned:
            take_settings(module, settings, monkeypatch)


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "1 + 1     # 3",
        "1 + 1     # 2.0",
        "1 + 1     # 3, of course",
        "found = {'a': [1]}     # {'a': [2]}",
        "request.persist.get('nothing', 1)     # str | None",
        "request.persist.create('key', 1)     # DuplicateKeyError",
        "request.persist.get('nothing',\n    1)     # None: there is none",
    ],
)
def test_a_wrong_block_fails(code: str, module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ZeroDivisionError, pytest.fail.Exception)):
        run(Block(tmp_path, 1, code), module)


def test_a_right_block_runs(module: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nrequest.persist.create('a', 1)\n"
        "request.persist.get('a')     # 1, as was said\n"
        "request.persist.create('a', 2)     # DuplicateKeyError\n```\n"
        "- In a list:\n\n  ```python\n  found = request.persist.get('a')     # int | None\n  ```\n"
        "<!-- python\nunseen = found\n-->\n"
        "<!-- not run: it is wrong -->\n```python\n1 / 0\n```\n```text\n1 / 0\n```\n"
    )
    assigned = [run(block, module) for block in blocks(page)]
    assert assigned == [set(), {"found"}, {"unseen"}]
    assert module.unseen == 1


def test_invalid_settings_fail(
    module: ModuleType, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = {"BACKEND": DATABASE, "OPTIONS": {"using": "nowhere"}}
    assert run(Block(tmp_path, 1, f"PERSIST = {{'default': {config}}}"), module) == {"PERSIST"}
    with pytest.raises(AssertionError, match=r"DATABASES has no 'nowhere'"):
        take_settings(module, settings, monkeypatch)


COPY = re.compile(r"<!-- not run: it is (\S+) -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_code_of_a_file_is_in_its_page_as_it_is_in_the_file() -> None:
    """So that a page can be read as plain Markdown, and copied from."""
    found = [copy for page in PAGES for copy in COPY.findall(page.read_text())]
    assert len(found) >= 4
    for path, code in found:
        assert code == (ROOT / path).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_has_its_code_itself(page: Path) -> None:
    assert "{literalinclude}" not in page.read_text()
