"""What the tests of export, import and copy move."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django_persist import Item, Store


def fill(store: Store, number: int = 2500, expires: float | None = None) -> None:
    store.set_many({f"key:{n}": n for n in range(number)}, expires=expires)


def contents(store: Store) -> dict[str, Item[Any]]:
    """Return what a store has, its moments in whole milliseconds: Redis keeps no finer ones."""

    def cut(moment: datetime | None) -> datetime | None:
        return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    return {key: Item(item.value, cut(item.expires_at)) for key, item in store.items()}


def lines(*entries: Any, end: bool = True) -> bytes:
    """Return an export of entries, and of lines given as bytes."""
    first = {"django_persist": {"format": 1}}
    last = [{"end": {"entries": len(entries), "left_out": 0}}] if end else []
    texts = [e if type(e) is bytes else json.dumps(e).encode() for e in (first, *entries, *last)]
    return b"\n".join(texts) + b"\n"


def entry(key: str, value: Any, expires_at: datetime | None = None) -> dict[str, Any]:
    return {
        "key": key,
        "value": value,
        "expires_at": expires_at and expires_at.isoformat(),
    }
