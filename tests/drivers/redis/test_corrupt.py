"""Keys of ours that something else has written: a pickle, a compressor, another Redis type."""

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


def tell(word: str) -> None:
    unpickled.append(word)


class Bomb:
    """Tells when it is loaded."""

    def __reduce__(self) -> Any:
        return tell, ("secret",)


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
MENDS: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("k", "mended"),
    "set, lifetime": lambda store: store.set("k", "mended", expires=60),
    "set_many": lambda store: store.set_many({"k": "mended"}),
    "remove": lambda store: store.remove("k"),
    "remove_many": lambda store: store.remove_many(["k"]),
}


@pytest.fixture
def store(driver: RedisDriver) -> Store:
    store = Store(driver)
    store.set("fine", 1)
    return store


def test_a_pickle_would_be_seen_to_be_loaded() -> None:
    pickle.loads(WRITTEN["a pickle"])
    assert unpickled == ["secret"]
    unpickled.clear()


def raw(server: ValkeyServer, store: Store, command: str, *args: Any) -> None:
    server.run(command, store.place().prefix + "k", *args)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_text_that_is_not_json(server: ValkeyServer, store: Store, text: bytes) -> None:
    for mend in MENDS.values():
        raw(server, store, "SET", text)
        for read in (READS | MANY).values():
            with pytest.raises(DecodeError, match="'k'") as caught:
                read(store)
            assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert server.client.get(store.place().prefix + "k") == text
        assert "k" in store
        assert sorted(store.keys()) == ["fine", "k"]
        assert store.count() == 2
        mend(store)
        assert store.get_or_create("k", "mended")[0] == "mended"
    raw(server, store, "SET", text)
    assert store.clear() == 2
    assert not unpickled


@pytest.mark.parametrize(("command", "args"), [(c, a) for c, *a in OTHER_TYPES.values()])
def test_another_redis_type(
    server: ValkeyServer, store: Store, command: str, args: list[str]
) -> None:
    for mend in MENDS.values():
        raw(server, store, command, *args)
        for read in READS.values():
            with pytest.raises(DecodeError, match="'k'") as caught:
                read(store)
            assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        assert "k" in store
        mend(store)
        assert store.get_or_create("k", "mended")[0] == "mended"
        store.remove("k")


def test_another_redis_type_is_no_entry_where_many_are_read(
    server: ValkeyServer, store: Store
) -> None:
    """MGET and SCAN leave it out: to look for it would cost every call that finds a key missing."""
    raw(server, store, "RPUSH", "secret")
    assert store.get_many(["k", "fine"]) == {"fine": 1}
    assert list(store.keys()) == ["fine"]
    assert [key for key, _ in store.items()] == ["fine"]
    assert store.count() == 1
    assert store.clear() == 1
    assert "k" in store


def test_what_the_alias_caches_under_a_key_of_ours(
    server: ValkeyServer, make_driver: MakeDriver
) -> None:
    """Its default serializer is pickle, and its version can be ours by somebody's mistake."""
    store = Store(make_driver(server.url))
    caches["persist"].set("k", Bomb(), version="persist")  # type: ignore[arg-type]
    for read in READS.values():
        with pytest.raises(DecodeError):
            read(store)
    assert not unpickled
    assert store.remove("k")
