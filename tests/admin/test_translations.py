"""The texts of the package in the languages that it comes in."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import Any

import pytest

import django_persist
from django_persist import persist
from tests.admin.conftest import LIST, Staff
from tests.conftest import leave_expired

LOCALE = Path(django_persist.__file__).parent / "locale"
LANGUAGES = ("de", "es", "fr", "ja", "pt")
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?(?:\.\d)?[sdf]|</?\w+[^>]*>")


def catalog(language: str) -> dict[Any, str]:
    with (LOCALE / language / "LC_MESSAGES/django.mo").open("rb") as file:
        found: dict[Any, str] = vars(gettext.GNUTranslations(file))["_catalog"]
    return found


def test_each_language_has_every_text() -> None:
    assert sorted(path.name for path in LOCALE.iterdir()) == list(LANGUAGES)
    texts = {id_[0] if type(id_) is tuple else id_ for id_ in catalog("de")} - {""}
    assert len(texts) > 80
    for language in LANGUAGES:
        found = catalog(language)
        assert {id_[0] if type(id_) is tuple else id_ for id_ in found} - {""} == texts
        for id_, translated in found.items():
            text = id_[0] if type(id_) is tuple else id_
            assert translated.strip()
            if text:
                assert sorted(PLACEHOLDER.findall(translated)) == sorted(PLACEHOLDER.findall(text))


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("de", ["Alle abgelaufenen Einträge löschen", "läuft nie ab", "abgelaufen ("]),
        ("es", ["Eliminar todas las entradas caducadas", "no caduca nunca", "caducó hace"]),
        ("fr", ["Supprimer toutes les entrées expirées", "n’expire jamais", "expirée il y a"]),
        ("ja", ["期限切れのエントリをすべて削除", "無期限", "期限切れから"]),
        ("pt", ["Remover todas as entradas expiradas", "nunca expira", "expirou há"]),
        ("pt-br", ["Remover todas as entradas expiradas"]),
    ],
)
def test_pages_are_in_the_language_of_the_site(
    sqlite_staff: Staff, settings: Any, language: str, texts: list[str]
) -> None:
    persist.set("a:1", 1)
    leave_expired(persist, {"old": 1})
    english = sqlite_staff.page(q="a")
    settings.LANGUAGE_CODE = language
    page = sqlite_staff.page() + sqlite_staff.page(q="a")
    for text in texts:
        assert text in page
        assert text not in english
    form = sqlite_staff.client.get(LIST + "add/").text
    question = sqlite_staff.client.post(LIST, {"action": "delete_expired", "index": "0"}).text
    for text in ("anywhere in", "double quotes", "expired ", "entries", "Leave it empty"):
        assert text not in page + form + question
