"""encode_all() and decode_all() give the same results as encode() and decode() one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_persist import codec
from django_persist.exceptions import DecodeError, EncodeError
from tests.codec.values import anything, plain_json
from tests.extent import examples


class WithRaw(msgspec.Struct):
    raw: msgspec.Raw


bounded = settings(deadline=None, max_examples=examples(200))


def encoded(value: Any) -> bytes | None:
    try:
        return codec.encode(value)
    except EncodeError:
        return None


@bounded
@given(st.lists(plain_json | anything, max_size=5))
def test_encode_all_accepts_and_refuses_what_encode_does(values: list[Any]) -> None:
    one_by_one = [encoded(value) for value in values]
    if None in one_by_one:
        with pytest.raises(EncodeError):
            codec.encode_all(values)
    else:
        texts, longest = codec.encode_all(values)
        assert texts == one_by_one
        assert longest == max(map(len, texts), default=0)


@pytest.mark.parametrize(
    "value", [{"a": float("nan")}, [float("inf")], {1: 2}, [(1, 2), {True: 1}], float("nan")]
)
def test_encode_all_checks_a_value_among_plain_ones(value: Any) -> None:
    try:
        text = codec.encode(value)
    except EncodeError:
        with pytest.raises(EncodeError):
            codec.encode_all([{"a": 1}, value, []])
    else:
        assert codec.encode_all([{"a": 1}, value, []])[0] == [b'{"a":1}', text, b"[]"]


def test_encode_all_with_a_line_break_in_a_text() -> None:
    raw = {"a": WithRaw(msgspec.Raw(b"[1,\n2]"))}
    assert codec.encode_all([raw, {"b": 1}])[0] == [b'{"a":{"raw":[1,\n2]}}', b'{"b":1}']


def test_encode_all_refuses_a_value_nested_too_deeply() -> None:
    deep: Any = []
    for _ in range(codec.MAX_DEPTH):
        deep = [deep]
    with pytest.raises(EncodeError, match="levels"):
        codec.encode_all([1, deep])
    assert codec.encode_all([1, deep[0]])[0] == [b"1", codec.encode(deep[0])]


raw = st.sampled_from(["1", "1\n2", "", " ", "[1,", "2]", '"a"', "{", "null", "1 2", "\r\n3"])


@bounded
@given(st.lists(raw, min_size=1, max_size=5), st.booleans(), st.sampled_from([None, int]))
def test_decode_all_never_joins_two_corrupt_texts(
    texts: list[str], as_bytes: bool, as_: Any
) -> None:
    stored = [text.encode() if as_bytes else text for text in texts]
    decoded = codec.decode_all(enumerate(stored), as_)
    if decoded is not None:
        assert decoded == {i: codec.decode(text, as_, key="k") for i, text in enumerate(stored)}
    else:
        with pytest.raises(DecodeError):
            for text in stored:
                codec.decode(text, as_, key="k")
