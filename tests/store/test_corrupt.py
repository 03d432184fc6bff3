"""Stored bytes that are not UTF-8, where a server keeps such a thing: every read raises."""

from __future__ import annotations

import pytest
from django.db import connections

from django_persist import Store
from django_persist.contract.base import outcome
from django_persist.contract.corrupt import READS
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import DecodeError


def write_bytes(store: Store, key: str, text: bytes) -> None:
    """Store bytes where the driver keeps the text of a key."""
    if isinstance(store.driver, DatabaseDriver):
        with connections[store.driver.using].cursor() as cursor:
            # As text, even where it isn't UTF-8.
            statement = "INSERT INTO django_persist_entry VALUES (%s, CAST(%s AS TEXT), NULL)"
            cursor.execute(statement, [key, text])
    else:
        store.driver.set(key, text, None)


@pytest.mark.parametrize("server", ["sqlite", "memory", "valkey", "redis"])
def test_every_read_reports_bytes_that_are_not_text(store: Store) -> None:
    write_bytes(store, "a", b'"\xff\xfe secret"')
    for call, read in READS.items():
        error = outcome(read, store, "a")
        assert isinstance(error, DecodeError), call
        assert "'a'" in str(error), call
        assert "secret" not in str(error), call
    assert "a" in store
