"""The floor of the memory driver: a dict, and a dict that keeps what an entry needs."""

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
        self.kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def create(self, key: str, value: Any) -> bool:
        if key in self.kept:
            return False
        self.kept[key] = value
        return True

    def incr(self, key: str) -> int:
        self.kept[key] += 1
        return int(self.kept[key])

    def pop(self, key: str) -> Any:
        return self.kept.pop(key)

    def update(self, key: str, change: Change) -> Any:
        value = self.kept[key] = change({**self.kept[key]})
        return value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def set_many(self, mapping: dict[str, Any]) -> None:
        self.kept.update(mapping)

    def remove_many(self, keys: list[str]) -> None:
        for key in keys:
            self.kept.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        return [key for key in self.kept if key.startswith(prefix)]


class JsonDict(Contender):
    """A dict of JSON texts with their ends, behind a lock: it never gives back what has ended."""

    name = "dict of JSON"
    remarks = {"update": "holds the lock while the function runs"}

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, int]] = {}
        self.lock = Lock()

    def _live(self, key: str) -> bytes | None:
        found = self.kept.get(key)
        return None if found is None or found[1] <= now() else found[0]

    def get(self, key: str) -> Any:
        with self.lock:
            text = self._live(key)
        return None if text is None else from_text(text)

    def set(self, key: str, value: Any) -> None:
        entry = _entry(value)
        with self.lock:
            self.kept[key] = entry

    def create(self, key: str, value: Any) -> bool:
        entry = _entry(value)
        with self.lock:
            if self._live(key) is not None:
                return False
            self.kept[key] = entry
            return True

    def incr(self, key: str) -> int:
        return int(self.update(key, lambda count: count + 1))

    def pop(self, key: str) -> Any:
        with self.lock:
            text = self._live(key)
            self.kept.pop(key, None)
        return None if text is None else from_text(text)

    def update(self, key: str, change: Change) -> Any:
        with self.lock:
            text, ends = self.kept[key]
            value = change(from_text(text))
            self.kept[key] = to_text(value), ends
            return value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        with self.lock:
            texts = [(key, self._live(key)) for key in keys]
        return {key: from_text(text) for key, text in texts if text is not None}

    def set_many(self, mapping: dict[str, Any]) -> None:
        entries = {key: _entry(value) for key, value in mapping.items()}
        with self.lock:
            self.kept.update(entries)

    def remove_many(self, keys: list[str]) -> None:
        with self.lock:
            for key in keys:
                self.kept.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        with self.lock:
            return [key for key in self.kept if key.startswith(prefix)]


def _entry(value: Any) -> tuple[bytes, int]:
    return to_text(value), now() + LIFETIME * 1_000_000
