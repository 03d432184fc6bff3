"""Configuration of Sphinx. The reference is generated from the docstrings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
django.setup()

import django_persist  # noqa: E402 (its models need Django to be set up)

project = "django-persist"
author = "django-persist contributors"
copyright = f"2026, {author}"
release = django_persist.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "django-persist"

# Docstrings put names in single backquotes.
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", without_hints)


def without_hints(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, Any] | None:
    """Leave out the parameter of `touch` that only explains a mistake."""
    if signature is None:
        return None
    return signature.replace(", *, timeout: Never = Missing.MISSING", ""), returns
