"""Keys are compared exactly, and listed by prefix exactly."""

from __future__ import annotations

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

# Names of namespaces that a pattern or a collation could confuse.
SIBLINGS = ["a", "ab", "a:b", "a%3Ab", "a%", "A", "a ", "á", "%", "_", "*", "a*", "\\", "😀", "4"]


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

    def test_clear_takes_just_the_keys_that_begin_with_the_prefix(self, store: Store) -> None:
        for prefix in ("KEY", "k_", "%", "*", "[k", "\\", "'", "İ", "😀", "\uffff", "\U0010ffff"):
            keys = {*LOOK_ALIKES, *PREFIXES, prefix + "x", prefix + "\U0010ffff", prefix * 2}
            store.set_many(dict.fromkeys(keys, 1))
            doomed = {key for key in keys if key.startswith(prefix)}
            assert store.clear(prefix) == len(doomed), prefix
            assert sorted(store.keys()) == sorted(keys - doomed), prefix

    def test_clear_never_takes_a_siblings_entry(self, store: Store) -> None:
        for name in SIBLINGS:
            store.namespace(name).set("key", name)
        left = set(SIBLINGS)
        for name in SIBLINGS:
            assert store.namespace(name).count() == 1, name
            assert store.namespace(name).clear() == 1, name
            left.remove(name)
            assert {item.value for _, item in store.items()} == left, name

    def test_a_key_can_have_255_characters_of_any_kind(self, make_store: MakeStore) -> None:
        for character in ("k", "é", "😀", "\\", "'", "%", "\U0010ffff"):
            longest, shorter = character * 255, character * 254
            store = make_store(prefix=character * 64)
            store.create(longest, 1)
            store.set(shorter, 2)
            assert store.get(longest) == 1, character
            assert store.get_many([longest, shorter]) == {longest: 1, shorter: 2}
            assert sorted(store.keys(character * 200)) == [shorter, longest]
            assert list(store.keys(longest)) == [longest]
            assert store.incr(longest) == 2, character
            assert store.remove_many([longest, shorter]) == 2, character
