"""What is compared: the interface of a contender, our store, and Django's caches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django_persist import Store
from django_persist.exceptions import DuplicateKeyError

Change = Callable[[Any], Any]


class Contender(ABC):
    """Something that keeps values by key, each for LIFETIME seconds.

    Each method is one call of the library, or what its users write if it has no such call.
    """

    name: str

    lists: bool = True
    """Whether it can list its keys."""

    remarks: Mapping[str, str] = {}
    """How an operation does less than ours, by its name."""

    @abstractmethod
    def get(self, key: str) -> Any: ...

    @abstractmethod
    def set(self, key: str, value: Any) -> None: ...

    @abstractmethod
    def create(self, key: str, value: Any) -> bool: ...

    @abstractmethod
    def incr(self, key: str) -> int: ...

    @abstractmethod
    def pop(self, key: str) -> Any: ...

    @abstractmethod
    def update(self, key: str, change: Change) -> Any: ...

    @abstractmethod
    def get_many(self, keys: list[str]) -> Mapping[str, Any]: ...

    @abstractmethod
    def set_many(self, mapping: dict[str, Any]) -> None: ...

    @abstractmethod
    def remove_many(self, keys: list[str]) -> None: ...

    @abstractmethod
    def keys(self, prefix: str) -> Iterable[str]: ...

    def close(self) -> None:  # noqa: B027 (most have nothing to close)
        """Close the connections of the calling thread."""


class Ours(Contender):
    def __init__(self, store: Store, name: str = "ours") -> None:
        self.name = name
        self.store = store

    def get(self, key: str) -> Any:
        return self.store.get(key)

    def set(self, key: str, value: Any) -> None:
        self.store.set(key, value)

    def create(self, key: str, value: Any) -> bool:
        try:
            self.store.create(key, value)
        except DuplicateKeyError:
            return False
        return True

    def incr(self, key: str) -> int:
        return self.store.incr(key)

    def pop(self, key: str) -> Any:
        return self.store.pop(key)

    def update(self, key: str, change: Change) -> Any:
        return self.store.update(key, change)

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return self.store.get_many(keys)

    def set_many(self, mapping: dict[str, Any]) -> None:
        self.store.set_many(mapping)

    def remove_many(self, keys: list[str]) -> None:
        self.store.remove_many(keys)

    def keys(self, prefix: str) -> Iterable[str]:
        return self.store.keys(prefix)


class Cache(Contender):
    """A backend of Django's cache framework."""

    lists = False
    remarks = {
        "pop": "get, delete: two callers can get one value",
        "update": "get, set: a write in between is lost",
    }

    def __init__(self, name: str, cache: Any) -> None:
        self.name = name
        self.cache = cache

    def get(self, key: str) -> Any:
        return self.cache.get(key)

    def set(self, key: str, value: Any) -> None:
        self.cache.set(key, value)

    def create(self, key: str, value: Any) -> bool:
        return bool(self.cache.add(key, value))

    def incr(self, key: str) -> int:
        return int(self.cache.incr(key))

    def pop(self, key: str) -> Any:
        value = self.cache.get(key)
        self.cache.delete(key)
        return value

    def update(self, key: str, change: Change) -> Any:
        value = change(self.cache.get(key))
        self.cache.set(key, value)
        return value

    def get_many(self, keys: list[str]) -> Mapping[str, Any]:
        return self.cache.get_many(keys)  # type: ignore[no-any-return]

    def set_many(self, mapping: dict[str, Any]) -> None:
        self.cache.set_many(mapping)

    def remove_many(self, keys: list[str]) -> None:
        self.cache.delete_many(keys)

    def keys(self, prefix: str) -> Iterable[str]:
        raise NotImplementedError


class DatabaseCache(Cache):
    remarks = {**Cache.remarks, "incr": "get, set: an incr in between is lost"}


class DjangoRedis(Cache):
    lists = True

    def keys(self, prefix: str) -> Iterable[str]:
        return self.cache.iter_keys(f"{prefix}*", itersize=1000)  # type: ignore[no-any-return]
