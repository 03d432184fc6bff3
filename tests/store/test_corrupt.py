"""Bytes that are no text, where a server keeps such a thing: told by every read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections

from django_persist import Store
from django_persist.contract.corrupt import READS
from django_persist.drivers.database import DatabaseDriver
from django_persist.exceptions import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable


def write_beneath(store: Store, key: str, text: bytes) -> None:
    """Store bytes where the driver keeps the text of a key."""
    if isinstance(store.driver, DatabaseDriver):
        with connections[store.driver.using].cursor() as cursor:
            # As text, even where it isn't UTF-8.
            statement = "INSERT INTO django_persist_entry VALUES (%s, CAST(%s AS TEXT), NULL)"
            cursor.execute(statement, [key, text])
    else:
        store.driver.set(key, text, None)


@pytest.mark.parametrize("server", ["sqlite", "memory", "valkey", "redis"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_read_tells_of_bytes_that_are_no_text(
    store: Store, read: Callable[[Store], object]
) -> None:
    write_beneath(store, "a", b'"\xff\xfe secret"')
    with pytest.raises(DecodeError, match="'a'") as caught:
        read(store)
    assert "secret" not in str(caught.value)
    assert "a" in store
