"""Entries that something else has overwritten: with a pickle, or with another Redis type."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from django_persist import Store
from django_persist.drivers.redis import RedisDriver
from django_persist.exceptions import DecodeError
from tests.drivers.redis.conftest import MakeDriver
from tests.servers.valkey_servers import ValkeyServer

unpickled: list[str] = []


def note(word: str) -> None:
    unpickled.append(word)


class Bomb:
    """Leaves a note when it is unpickled."""

    def __reduce__(self) -> Any:
        return note, ("secret",)


WRITTEN: dict[str, bytes] = {
    "a pickle": pickle.dumps(Bomb()),
    "an old pickle": pickle.dumps(Bomb(), protocol=0),
    "a compressed JSON": zlib.compress(b'"secret"'),
    "a compressed pickle": zlib.compress(pickle.dumps(Bomb())),
    "a word": b"secret",
    "nothing": b"",
}
OTHER_TYPES: dict[str, tuple[str, ...]] = {
    "a list": ("RPUSH", "secret"),
    "a hash": ("HSET", "field", "secret"),
    "a set": ("SADD", "secret"),
}
READS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: store.get("k"),
    "get, as": lambda store: store.get("k", as_=str),
    "get_item": lambda store: store.get_item("k"),
    "pop": lambda store: store.pop("k"),
    "update": lambda store: store.update("k", lambda value: value, 0),
    "get_or_create": lambda store: store.get_or_create("k", 0),
    "incr": lambda store: store.incr("k"),
    "incr, lifetime": lambda store: store.incr("k", expires=60),
}
MANY: dict[str, Callable[[Store], Any]] = {
    "get_many": lambda store: store.get_many(["k", "fine"]),
    "items": lambda store: list(store.items()),
}
REPAIRS: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("k", "repaired"),
    "set, lifetime": lambda store: store.set("k", "repaired", expires=60),
    "set_many": lambda store: store.set_many({"k": "repaired"}),
    "remove": lambda store: store.remove("k"),
    "remove_many": lambda store: store.remove_many(["k"]),
}


@pytest.fixture
def store(driver: RedisDriver) -> Store:
    store = Store(driver)
    store.set("fine", 1)
    return store


def test_loading_the_pickle_would_be_noticed() -> None:
    pickle.loads(WRITTEN["a pickle"])
    assert unpickled == ["secret"]
    unpickled.clear()


def raw(server: ValkeyServer, store: Store, command: str, *args: Any) -> None:
    server.run(command, store.place().prefix + "k", *args)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_text_that_is_not_json(server: ValkeyServer, store: Store, text: bytes) -> None:
    for repair in REPAIRS.values():
        raw(server, store, "SET", text)
        for read in (READS | MANY).values():
            with pytest.raises(DecodeError, match="'k'") as caught:
                read(store)
            assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert server.client.get(store.place().prefix + "k") == text
        assert "k" in store
        assert sorted(store.keys()) == ["fine", "k"]
        assert store.count() == 2
        repair(store)
        assert store.get_or_create("k", "repaired")[0] == "repaired"
    raw(server, store, "SET", text)
    assert store.clear() == 2
    assert not unpickled


@pytest.mark.parametrize(("command", "args"), [(c, a) for c, *a in OTHER_TYPES.values()])
def test_another_redis_type(
    server: ValkeyServer, store: Store, command: str, args: list[str]
) -> None:
    for repair in REPAIRS.values():
        raw(server, store, command, *args)
        for read in READS.values():
            with pytest.raises(DecodeError, match="'k'") as caught:
                read(store)
            assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert "k" in store
        repair(store)
        assert store.get_or_create("k", "repaired")[0] == "repaired"
        store.remove("k")


def test_reads_of_many_keys_leave_out_another_redis_type(
    server: ValkeyServer, store: Store
) -> None:
    """MGET and SCAN leave it out. Looking for it would cost each call that finds a key missing."""
    raw(server, store, "RPUSH", "secret")
    assert store.get_many(["k", "fine"]) == {"fine": 1}
    assert list(store.keys()) == ["fine"]
    assert [key for key, _ in store.items()] == ["fine"]
    assert store.count() == 1
    assert store.clear() == 1
    assert "k" in store


def test_a_value_cached_under_the_key_of_an_entry(
    server: ValkeyServer, make_driver: MakeDriver
) -> None:
    """Somebody caches under our version by mistake; the cache's default serializer is pickle."""
    store = Store(make_driver(server.url))
    caches["persist"].set("k", Bomb(), version="persist")  # type: ignore[arg-type]
    for read in READS.values():
        with pytest.raises(DecodeError):
            read(store)
    assert not unpickled
    assert store.remove("k")
