"""Values read back as what they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..store import Store
from .base import Contract


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [level, value] if level % 2 else {"deeper": value}
    return value


VALUES: dict[str, Any] = {
    "NUL": "a\0b",
    "NUL alone": "\0",
    "NUL as a key": {"\0": "\0"},
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff",
    "emoji": "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "composed and decomposed": ["é", "e\u0301"],
    "edges of Unicode": "\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff",
    "quotes": """'"`''\"\"";--""",
    "backslashes": "\\ \\\\ \\n \\u0000 \\' \\\" \\%",
    "placeholders": "%s %(key)s %% %d :key ? $1 {} {0} {key}",
    "SQL": "'); DROP TABLE django_persist_entry; --",
    "wildcards": "% _ * ? [a] \\",
    "script": "</script><!--&amp;",
    "JSON in a text": '{"a": [1, null, "\\u0000"]}',
    "texts that look like others": ["null", "true", "1", "NaN", "", " ", "2030-01-01T00:00:00Z"],
    "trailing spaces": "a  \n",
    "1 MB": "x" * 1_000_000,
    "1 MB to be escaped": "\\'\"é😀\0" * 100_000,
    "100 levels": nested(100),
    "many keys": {str(i): i for i in range(1000)},
    "order of keys": {"b": 1, "a": 2, "B": 3, "": 4, "aa": 5},
    "keys that look alike": {"a": 1, "A": 2, "a ": 3, "ä": 4, "a\u0308": 5},
    "1e22": 1e22,
    "-0.0": -0.0,
    "0.1 + 0.2": 0.1 + 0.2,
    "5e-324": 5e-324,
    "largest float": math.nextafter(math.inf, 0),
    "smallest normal float": 2.2250738585072014e-308,
    "1.0": 1.0,
    "2**53 + 1": 2**53 + 1,
    "2**63": [2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64],
    "2**100": -(2**100),
    "a hundred digits": 10**100 + 1,
    "bool and int": [True, 1, False, 0],
    "float and int": [1, 1.0, 0, 0.0],
    "empty": [{}, [], "", None],
}


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, of the same types, in the same order."""
    return repr(one) == repr(other)


class ValuesContract(Contract):
    """Values read back as what they were."""

    def test_a_value_reads_back_as_what_it_was(self, store: Store) -> None:
        writes: list[Callable[[str, Any], object]] = [store.create, store.set, store.get_or_create]
        for number, (name, value) in enumerate(VALUES.items()):
            writes[number % 3](name, value)
            assert same(store.get(name), value), name
            item = store.get_item(name)
            assert item is not None, name
            assert same(item.value, value), name
            assert item.expires_at is None, name
            # update and pop compare the stored text with the one that they have read.
            assert same(store.update(name, lambda old: [old]), [value]), name
            assert same(store.get(name), [value]), name
            assert same(store.pop(name), [value]), name
            assert name not in store, name

    def test_many_values_read_back_as_what_they_were(self, store: Store) -> None:
        store.set_many(VALUES)
        listed = {key: item.value for key, item in store.items()}
        found = store.get_many(VALUES)
        assert listed.keys() == found.keys() == VALUES.keys()
        for name, value in VALUES.items():
            assert same(found[name], value), name
            assert same(listed[name], value), name
            assert same(store.pop(name), value), name
        assert store.count() == 0
