"""Each recipe has its own page, which shows its code and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "testproject/site/recipes").glob("[a-z]*.py"))
PAGES = {
    page: page.read_text()
    for page in (ROOT / "docs/how-to").glob("*.md")
    if "/site/recipes/" in page.read_text()
}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_shown_on_its_own_page(recipe: Path) -> None:
    line = f"<!-- not run: it is {recipe.relative_to(ROOT)} -->"
    [page] = [page for page, text in PAGES.items() if line in text]
    named = set(re.findall(r"`(test_\w+)`", PAGES[page]))
    existing = {
        name
        for test in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", test.read_text())
    }
    assert len(named) >= 5
    assert named - existing == set()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_uses_only_the_public_api(recipe: Path) -> None:
    used = re.findall(r"^from (django_persist\S*) import", recipe.read_text(), re.MULTILINE)
    assert set(used) <= {"django_persist", "django_persist.exceptions", "django_persist.http"}
    assert "driver" not in recipe.read_text()
