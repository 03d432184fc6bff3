"""How deep values can nest, and values that contain themselves."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from django_persist import codec
from django_persist.exceptions import EncodeError
from tests.codec.types import Cart, Measure, Pair, Tree, User


def test_long_path_is_truncated() -> None:
    with pytest.raises(EncodeError) as caught:
        codec.encode(nested(150, object()))
    assert len(str(caught.value)) < 350


def nested(depth: int, inner: Any = 1) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


def tree(depth: int) -> Tree:
    root = Tree("leaf")
    for _ in range(depth - 1):
        root = Tree("a", [root])
    return root


@pytest.mark.parametrize(
    "value",
    [
        nested(codec.MAX_DEPTH + 1),
        nested(codec.MAX_DEPTH, ()),
        nested(codec.MAX_DEPTH, Pair(1)),
        nested(codec.MAX_DEPTH, User(name="u")),
        [1, {"a": [nested(3000)]}],
        Cart(1, extra=nested(codec.MAX_DEPTH)),
        [Measure(anything=nested(codec.MAX_DEPTH - 1))],
        tree(codec.MAX_DEPTH),
    ],
)
def test_value_nested_too_deeply_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError, match=r"at \$.*(200 levels|model Measure)"):
        codec.encode(value)


@pytest.mark.parametrize(
    "value", [nested(codec.MAX_DEPTH), Cart(1, extra=nested(codec.MAX_DEPTH - 1)), tree(100)]
)
def test_value_at_the_depth_limit_reads_back(value: Any) -> None:
    assert codec.decode(codec.encode(value), type(value), key="k") == value


def test_cycle_is_refused() -> None:
    items: list[Any] = []
    items += [items, items]
    mapping: dict[str, Any] = {}
    mapping["a"] = [mapping]
    loop = Tree("a")
    loop.children.append(loop)
    measure = Measure()
    measure.anything = [measure]
    for value in (items, mapping, loop, [measure]):
        with pytest.raises(EncodeError):
            codec.encode(value)


def test_full_stack_is_a_recursion_error_not_an_encode_error() -> None:
    def fill(left: int) -> bytes:
        return fill(left - 1) if left else codec.encode(nested(150))

    for depth in range(0, sys.getrecursionlimit(), 7):
        try:
            assert fill(depth) == b"[" * 150 + b"1" + b"]" * 150
        except RecursionError:
            break
    else:
        pytest.fail("the stack never filled up")
