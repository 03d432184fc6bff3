"""Entries of every kind through manage.py persist, dumpdata and loaddata."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from django.core.management import call_command

from django_persist import Store, stores
from tests.conftest import BACKENDS, MISSING, OpenStore
from tests.management.commands import persist
from tests.mixed import NUMBER, fill, state


def test_every_entry_is_exported_and_imported(store: Store, tmp_path: Path) -> None:
    before = fill(store)
    file = str(tmp_path / "backup.jsonl")
    assert persist("export", file).out.startswith(f"{NUMBER:,} entries")
    store.clear()
    assert persist("import", file).out == f"{NUMBER:,} entries stored in default.\n"
    assert state(store) == before


def test_every_entry_is_copied_from_server_to_server(open_store: OpenStore, settings: Any) -> None:
    """To each server in turn, and back to the first."""
    servers = [name for name in BACKENDS if name not in MISSING]
    for name in servers:
        open_store(name)
    places = {name: {**BACKENDS[name], "PREFIX": "a:"} for name in servers}
    settings.PERSIST = {**places, "default": {**BACKENDS[servers[0]], "PREFIX": "back:"}}
    before = fill(stores[servers[0]])
    for source, target in pairwise([*servers, "default"]):
        assert persist("copy", source, target).out == f"{NUMBER:,} entries stored in {target}.\n"
        assert state(stores[target]) == before


def test_every_entry_is_dumped_and_loaded(database_store: Store, tmp_path: Path) -> None:
    before = fill(database_store)
    using = database_store.driver.using  # type: ignore[attr-defined]
    dump = tmp_path / "dump.jsonl"
    options = {"database": using, "format": "jsonl", "output": str(dump), "verbosity": 0}
    call_command("dumpdata", "django_persist", **options)
    database_store.clear()
    call_command("loaddata", str(dump), database=using, verbosity=0)
    assert state(database_store) == before
