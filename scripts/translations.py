"""Bring the translations up to date with the code, and compile them. Needs gettext's tools.

python scripts/translations.py            after a change of a text; then translate what is listed
python scripts/translations.py --check    fails if anything is missing, unused or not compiled
"""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = Path(__file__).resolve().parent.parent / "django_persist"
LANGUAGES = ("de", "es", "fr", "ja", "pt")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    if not shutil.which("msgmerge"):
        sys.exit("Install gettext (Debian: apt-get install gettext).")
    if not parser.parse_args().check:
        _update(PACKAGE)
        wrong = [each for language in LANGUAGES for each in _untranslated(PACKAGE, language)]
    else:
        with TemporaryDirectory(prefix="persist-translations-") as temporary:
            fresh = Path(temporary) / PACKAGE.name
            shutil.copytree(PACKAGE, fresh, ignore=shutil.ignore_patterns("__pycache__"))
            _update(fresh)
            wrong = [each for language in LANGUAGES for each in _differences(fresh, language)]
    if wrong:
        sys.exit("\n".join(wrong))


def _po(package: Path, language: str) -> Path:
    return package / "locale" / language / "LC_MESSAGES" / "django.po"


def _update(package: Path) -> None:
    """Write the texts of the code into each .po file, and compile it to a .mo file."""
    environ = {name: text for name, text in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "django", "makemessages", "--verbosity", "0"]
    # Without line numbers, so that only a change of a text changes the files.
    command += ["--add-location", "never", "--no-obsolete", "--no-wrap"]
    for language in LANGUAGES:
        command += ["--locale", language]
    subprocess.run(command, cwd=package, env=environ, check=True)
    for language in LANGUAGES:
        po = _po(package, language)
        po.write_text(re.sub(r'"POT-Creation-Date: [^"]*"\n', "", po.read_text()))
        mo = po.with_suffix(".mo")
        subprocess.run(["msgfmt", "--check-format", "--output-file", mo, po], check=True)


def _untranslated(package: Path, language: str) -> list[str]:
    """Return the texts without a translation, or with one that msgmerge has guessed."""
    po = _po(package, language)
    found = set()
    for option in ("--untranslated", "--only-fuzzy"):
        done = subprocess.run(
            ["msgattrib", option, "--no-wrap", po], check=True, stdout=subprocess.PIPE, text=True
        )
        found |= set(re.findall(r'^msgid "(.+)"$', done.stdout, re.MULTILINE))
    return [f"{language}: not translated: {text}" for text in sorted(found)]


def _differences(fresh: Path, language: str) -> list[str]:
    """Return what is wrong with the files of a language, compared with fresh ones."""
    wrong = _untranslated(fresh, language)
    ours, theirs = _po(PACKAGE, language), _po(fresh, language)
    if not wrong and ours.read_text() != theirs.read_text():
        wrong.append(f"{language}: {ours.name} is not up to date: run scripts/translations.py.")
    if not wrong and _catalog(ours) != _catalog(theirs):
        wrong.append(f"{language}: django.mo is not compiled: run scripts/translations.py.")
    return wrong


def _catalog(po: Path) -> object:
    """Return what is in the .mo file. Its bytes depend on the version of gettext."""
    mo = po.with_suffix(".mo")
    if not mo.is_file():
        return None
    with mo.open("rb") as file:
        return vars(gettext.GNUTranslations(file))["_catalog"]


if __name__ == "__main__":
    main()
