"""Data for the tests of export, import and copy."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django_persist import Item, Store


def fill(store: Store, number: int = 2500, expires: float | None = None) -> None:
    store.set_many({f"key:{n}": n for n in range(number)}, expires=expires)


def contents(store: Store) -> dict[str, Item[Any]]:
    """Return the entries of a store, with expiries in whole milliseconds, as Redis keeps them."""

    def truncate(expires_at: datetime | None) -> datetime | None:
        return expires_at and expires_at.replace(microsecond=expires_at.microsecond // 1000 * 1000)

    return {key: Item(item.value, truncate(item.expires_at)) for key, item in store.items()}


def lines(*entries: Any) -> bytes:
    """Return an export of these entries. An entry given as bytes becomes a line unchanged."""
    header = {"django_persist": {"format": 1}}
    footer = {"end": {"entries": len(entries), "left_out": 0}}
    texts = [e if type(e) is bytes else json.dumps(e).encode() for e in (header, *entries, footer)]
    return b"\n".join(texts) + b"\n"


def entry(key: str, value: Any, expires_at: datetime | None = None) -> dict[str, Any]:
    return {
        "key": key,
        "value": value,
        "expires_at": expires_at and expires_at.isoformat(),
    }
