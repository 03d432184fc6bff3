"""Configuration of Sphinx. The reference is generated from the docstrings."""

from __future__ import annotations

import os
import sys
from configparser import ConfigParser
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
django.setup()

import django_persist  # noqa: E402 (its models need Django to be set up)

metadata = ConfigParser(interpolation=None)
metadata.read(ROOT / "setup.cfg")
urls = dict(line.split(" = ") for line in metadata["metadata"]["project_urls"].strip().splitlines())

project = "django-persist"
author = "django-persist contributors"
copyright = f"2026, {author}"
release = django_persist.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinxext.opengraph",
    "_extensions.docstrings",
    "_extensions.exception_links",
    "_extensions.llms_txt",
    "_extensions.sidebar",
]
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "django-persist"
html_baseurl = urls["Documentation"]
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": urls["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}

ogp_site_url = urls["Documentation"]
ogp_site_name = "django-persist"
ogp_image = "_static/card.png"
ogp_enable_meta_description = True
# Otherwise it draws a card for each page with matplotlib.
ogp_social_cards = {"enable": False}

copybutton_exclude = ".linenos, .gp, .go"

# Docstrings put names in single backquotes.
default_role = "code"

autodoc_member_order = "bysource"
# Defaults as they are written, such as RETRYABLE, and not a hundred status codes.
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
