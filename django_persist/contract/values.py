"""Values come back as what they were."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from ..exceptions import EncodeError
from ..store import Item, Store
from .base import Contract


def nested(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
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


UNFAITHFUL: dict[str, tuple[Any, str]] = {
    "NaN": ({"list": [1, float("nan")]}, r"\$\.list\[1\]"),
    "infinity": (float("-inf"), r"\$"),
    "keys that fall together": ({1: "a", "1": "b"}, r"\$"),
    "lone surrogate": (["\ud800"], r"\$\[0\]"),
    "object": ({"thing": object()}, r"\$\.thing"),
    "bool as a key": ({True: 1}, r"\$"),
}


class ValuesContract(Contract):
    """Values come back as what they were."""

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_a_value_reads_back_as_what_it_was(self, store: Store, value: Any) -> None:
        store.create("created", value)
        assert same(store.get("created"), value)
        store.set("set", None)
        store.set("set", value)
        assert same(store.get_item("set"), Item(value, None))
        store.set_many({"many": value, "others": 1})
        assert same(store.get_many(["many"]), {"many": value})
        assert all(same(item.value, value) for key, item in store.items() if key != "others")
        assert same(store.get_or_create("created", 1), (value, False))
        # What was read is what compare-and-swap looks for.
        assert same(store.update("set", lambda old: [old]), [value])
        assert same(store.update("set", lambda old: old[0]), value)
        assert same(store.pop("set"), value)
        assert "set" not in store

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ((1, 2), [1, 2]),
            ({1: "a", 2: "b"}, {"1": "a", "2": "b"}),
            (mark_safe("<b>"), "<b>"),
            (gettext_lazy("entry"), "entry"),
            (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Decimal("1.50"), "1.50"),
            (b"\xff\0", "/wA="),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_without_as_a_value_reads_back_as_its_json(
        self, store: Store, value: Any, text: Any
    ) -> None:
        store.set("a", value)
        assert same(store.get("a"), text)

    @pytest.mark.parametrize(("value", "path"), UNFAITHFUL.values(), ids=UNFAITHFUL)
    @pytest.mark.parametrize(
        "write",
        [
            lambda store, value: store.create("new", value),
            lambda store, value: store.set("a", value),
            lambda store, value: store.set_many({"b": 1, "a": value}),
            lambda store, value: store.update("a", lambda old: value),
            lambda store, value: store.update("new", lambda old: 1, value),
            lambda store, value: store.get_or_create("new", lambda: value),
        ],
        ids=["create", "set", "set_many", "update", "update default", "get_or_create"],
    )
    def test_what_cannot_be_stored_faithfully_is_refused_by_every_write(
        self, store: Store, value: Any, path: str, write: Any
    ) -> None:
        store.set("a", "old")
        with pytest.raises(EncodeError, match=path):
            write(store, value)
        assert dict(store.items()) == {"a": Item("old", None)}
