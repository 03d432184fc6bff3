"""Keys are compared exactly, and listed by prefix exactly."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from ..exceptions import InvalidKeyError
from ..keys import Key
from ..store import Store
from .base import Contract, MakeStore

# fmt: off
LOOK_ALIKES = list(dict.fromkeys([
    "key", "KEY", "Key", "kéy", "ke\u0301y", "kèy", "key ", " key", "key  ", "key\t", "key\n",
    "ke\u200by", "key\u200d", "key\ufeff", "\u202ekey", "key\u00a0", "key\u00ad", "ke\u2060y",
    "\x01key", "key\x7f", "key\x1f", "key\r", "key\r\n", "key\x85", "key\u2028",
    "straße", "strasse", "STRASSE", "stra\u1e9ee", "straſſe",
    "\uff4b\uff45\uff59", "i", "I", "ı", "İ", "i\u0307", "\u212a", "k", "K",
    "½", "1/2", "1\u20442", "²", "2", "ﬁ", "fi", "Æ", "AE", "æ", "Ω", "\u2126",
    "😀", "😁", "👩‍👧", "👩👧", "\U0001f468", "\U0001f3fb", "👍", "👍🏻", "\ufffd", "\uffff",
    "\ud7ff", "\ue000", "\U00010000", "\U0010ffff",
    "日本", "日\u672c", "日木", "\u05d0", "\u0627", "ا\u0654", "أ",
    "%", "%%", "_", "%_", "k%", "k_y", "k*y", "k?y", "k[e]y", "[key]", "*", "?", "[^a]", "{key}",
    "\\", "\\\\", "key\\", "\\n", "k\\ey", "'", "''", '"', "`", "key'--",
    "$1", "%s", "%(key)s", ":key", "null", "true", "0", "00", "1", "1.0", "1e0", "-0",
    ":", "::", "a:b", "a%3Ab", "/", "../key", "#",
]))
PREFIXES = [
    "key", "KEY", "k", "ke", "kéy", "ke\u0301", "key ", "str", "stra", "straß", "ß", "İ", "i",
    "%", "%%", "_", "k%", "k_", "*", "k*", "?", "k?", "[", "[k", "k[e]", "\\", "\\\\", "k\\", "{",
    "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\U0010ffff\U0010ffff", "😀", "👩",
    "'", "''", '"', ":", "a:", "a%", "a%3A", "^", "[^a", "-", "\x01", "\n", "\x7f", " ", "%s",
]
# fmt: on

CALLS: dict[str, Callable[[Store, Any], object]] = {
    "create": lambda store, key: store.create(key, 1),
    "set": lambda store, key: store.set(key, 1),
    "get": lambda store, key: store.get(key),
    "get_item": lambda store, key: store.get_item(key),
    "remove": lambda store, key: store.remove(key),
    "contains": lambda store, key: key in store,
    "touch": lambda store, key: store.touch(key),
    "pop": lambda store, key: store.pop(key),
    "update": lambda store, key: store.update(key, str, 1),
    "get_or_create": lambda store, key: store.get_or_create(key, 1),
    "incr": lambda store, key: store.incr(key),
    "get_many": lambda store, key: store.get_many(["a", key]),
    "set_many": lambda store, key: store.set_many({"a": 1, key: 2}),
    "remove_many": lambda store, key: store.remove_many(["a", key]),
}
UNFIT: dict[str, str] = {
    "empty": "",
    "256 characters": "k" * 256,
    "NUL": "a\0b",
    "NUL at the end": "a\0",
    "lone surrogate": "a\ud800",
    "surrogates in the wrong order": "\udc00\ud800",
}


class Name(StrEnum):
    KEY = "key"


class Shouting(str):
    """A str that lies about itself where it is formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()

    __repr__ = __str__


class KeysContract(Contract):
    """Keys are compared exactly, and listed by prefix exactly."""

    def test_look_alikes_are_separate_keys(self, store: Store) -> None:
        for number, key in enumerate(LOOK_ALIKES):
            store.create(key, number)
        for number, key in enumerate(LOOK_ALIKES):
            assert store.get(key) == number
            assert key in store
        expected = {key: number for number, key in enumerate(LOOK_ALIKES)}
        assert store.get_many(LOOK_ALIKES) == expected
        assert sorted(store.keys()) == sorted(LOOK_ALIKES)
        assert {key: item.value for key, item in store.items()} == expected
        assert store.count() == len(LOOK_ALIKES)
        for number, key in enumerate(LOOK_ALIKES):
            assert store.remove(key)
            assert key not in store
            assert store.count() == len(LOOK_ALIKES) - number - 1

    def test_look_alikes_are_separate_keys_of_one_call(self, store: Store) -> None:
        mapping = {key: number for number, key in enumerate(LOOK_ALIKES)}
        store.set_many(mapping)
        assert store.get_many(LOOK_ALIKES) == mapping
        assert store.remove_many(LOOK_ALIKES[::2]) == len(LOOK_ALIKES[::2])
        assert sorted(store.keys()) == sorted(LOOK_ALIKES[1::2])

    def test_a_listing_has_just_the_keys_that_begin_with_the_prefix(self, store: Store) -> None:
        keys = {
            key + more for key in LOOK_ALIKES for more in ("", "x", "\U0010ffff", "\ud7ff", "%*\\")
        }
        store.set_many({key: len(key) for key in keys})
        assert store.count() == len(keys)
        for prefix in [*PREFIXES, *LOOK_ALIKES]:
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert sorted(store.keys(prefix)) == expected, prefix
            assert store.count(prefix) == len(expected), prefix
            assert sorted(key for key, _ in store.items(prefix)) == expected, prefix

    @pytest.mark.parametrize("prefix", PREFIXES, ids=ascii)
    def test_clear_takes_just_the_keys_that_begin_with_the_prefix(
        self, store: Store, prefix: str
    ) -> None:
        keys = {*LOOK_ALIKES, *PREFIXES, prefix + "x", prefix + "\U0010ffff", prefix * 2}
        store.set_many(dict.fromkeys(keys, 1))
        doomed = {key for key in keys if key.startswith(prefix)}
        assert store.clear(prefix) == len(doomed)
        assert sorted(store.keys()) == sorted(keys - doomed)

    @pytest.mark.parametrize("character", ["k", "é", "😀", "\\", "'", "%", "\U0010ffff"], ids=ascii)
    def test_a_key_can_have_255_characters_of_any_kind(
        self, make_store: MakeStore, character: str
    ) -> None:
        longest = character * 255
        store = make_store(prefix=character * 64)
        store.create(longest, 1)
        store.set(character * 254, 2)
        assert store.get(longest) == 1
        assert store.get_many([longest, character * 254]) == {longest: 1, character * 254: 2}
        assert sorted(map(len, store.keys(character * 200))) == [254, 255]
        assert list(store.keys(longest)) == [longest]
        assert store.incr(longest) == 2
        assert store.remove_many([longest]) == 1

    @pytest.mark.parametrize("key", UNFIT.values(), ids=UNFIT)
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_key_that_some_driver_cannot_hold_is_refused_by_all(
        self, store: Store, call: Callable[[Store, Any], object], key: str
    ) -> None:
        with pytest.raises(InvalidKeyError):
            call(store, key)
        assert store.count() == 0

    @pytest.mark.parametrize("prefix", ["a\0", "\ud800"], ids=ascii)
    @pytest.mark.parametrize("call", ["keys", "items", "count", "clear"])
    def test_a_prefix_that_no_key_can_have_is_refused(
        self, store: Store, call: str, prefix: str
    ) -> None:
        with pytest.raises(InvalidKeyError):
            getattr(store, call)(prefix)

    @pytest.mark.parametrize(
        "key",
        [mark_safe("key"), Name.KEY, Shouting("key"), Key("key")],
        ids=lambda key: type(key).__name__,
    )
    @pytest.mark.parametrize("call", CALLS)
    def test_whatever_is_a_str_is_the_key_that_it_says(
        self, store: Store, key: Any, call: str
    ) -> None:
        if call in ("update", "incr", "get", "contains"):
            store.set("key", 5)
        CALLS[call](store, key)
        assert set(store.keys()) <= {"a", "key"}
        store.set(key, 6)
        assert store.get("key") == 6
        assert store.get_many([key]) == {key: 6}
        assert store.remove("key")
