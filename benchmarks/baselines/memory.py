"""The baselines of the memory driver: a plain dict, and a dict of JSON with expiry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import msgspec

from django_persist.expiry import now

from ..contenders import Change, Contender
from ..servers import LIFETIME

to_text = msgspec.json.Encoder().encode
from_text = msgspec.json.Decoder().decode


class BareDict(Contender):
    """A dict of the objects themselves: no copies, no expiry, no lock."""

    name = "dict"

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any) -> None:
        self.entries[key] = value

    def create(self, key: str, value: Any) -> bool:
        if key in self.entries:
            return False
        self.entries[key] = value
        return True

    def incr(self, key: str) -> int:
        self.entries[key] += 1
        return int(self.entries[key])

    def pop(self, key: str) -> Any:
        return self.entries.pop(key)

    def update(self, key: str, change: Change) -> Any:
        value = self.entries[key] = change({**self.entries[key]})
        return value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return {key: self.entries[key] for key in keys if key in self.entries}

    def set_many(self, mapping: dict[str, Any]) -> None:
        self.entries.update(mapping)

    def remove_many(self, keys: list[str]) -> None:
        for key in keys:
            self.entries.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        return [key for key in self.entries if key.startswith(prefix)]


class JsonDict(Contender):
    """A dict of JSON texts with their expiry, behind a lock. It never frees expired entries."""

    name = "dict of JSON"
    remarks = {"update": "holds the lock while the function runs"}

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.lock = Lock()

    def _live(self, key: str) -> bytes | None:
        found = self.entries.get(key)
        return None if found is None or found[1] <= now() else found[0]

    def get(self, key: str) -> Any:
        with self.lock:
            text = self._live(key)
        return None if text is None else from_text(text)

    def set(self, key: str, value: Any) -> None:
        entry = _entry(value)
        with self.lock:
            self.entries[key] = entry

    def create(self, key: str, value: Any) -> bool:
        entry = _entry(value)
        with self.lock:
            if self._live(key) is not None:
                return False
            self.entries[key] = entry
            return True

    def incr(self, key: str) -> int:
        return int(self.update(key, lambda count: count + 1))

    def pop(self, key: str) -> Any:
        with self.lock:
            text = self._live(key)
            self.entries.pop(key, None)
        return None if text is None else from_text(text)

    def update(self, key: str, change: Change) -> Any:
        with self.lock:
            text, expires_at = self.entries[key]
            value = change(from_text(text))
            self.entries[key] = to_text(value), expires_at
            return value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        with self.lock:
            texts = [(key, self._live(key)) for key in keys]
        return {key: from_text(text) for key, text in texts if text is not None}

    def set_many(self, mapping: dict[str, Any]) -> None:
        new = {key: _entry(value) for key, value in mapping.items()}
        with self.lock:
            self.entries.update(new)

    def remove_many(self, keys: list[str]) -> None:
        with self.lock:
            for key in keys:
                self.entries.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        with self.lock:
            return [key for key in self.entries if key.startswith(prefix)]


def _entry(value: Any) -> tuple[bytes, int]:
    return to_text(value), now() + LIFETIME * 1_000_000
