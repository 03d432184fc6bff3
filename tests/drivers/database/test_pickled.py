"""An entry that holds a pickle, as DatabaseCache writes it: it is corrupt, and never unpickled."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_persist import Store
from django_persist.exceptions import DecodeError
from django_persist.models import Entry

CALLS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get("key"),
    "get, as str": lambda store: store.get("key", as_=str, strict=True),
    "get_item": lambda store: store.get_item("key"),
    "get_many": lambda store: store.get_many(["key"]),
    "items": lambda store: list(store.items()),
    "pop": lambda store: store.pop("key"),
    "update": lambda store: store.update("key", lambda value: value, 1),
    "get_or_create": lambda store: store.get_or_create("key", 1),
    "incr": lambda store: store.incr("key"),
}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mknod, (str(self.path),)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_pickle_is_reported_as_corrupt(
    call: Callable[[Store], Any], database_store: Store, tmp_path: Path
) -> None:
    created = tmp_path / "created"
    text = base64.b64encode(pickle.dumps(Touch(created))).decode("latin1")
    using = database_store.driver.using  # type: ignore[attr-defined]
    with connections[using].cursor() as cursor:
        cursor.execute(f"INSERT INTO {Entry._meta.db_table} VALUES (%s, %s, NULL)", ["key", text])
    with pytest.raises(DecodeError) as caught:
        call(database_store)
    assert text not in str(caught.value)
    assert not created.exists()
    assert "key" in database_store  # it stays as it is
    database_store.set("key", 1)  # until it is overwritten
    assert database_store.get("key") == 1
    pickle.loads(base64.b64decode(text))
    assert created.exists()
