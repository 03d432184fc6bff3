"""Arguments that no store takes, whatever its driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from django_persist import Key, Store
from django_persist.contract.keys import CALLS
from django_persist.exceptions import InvalidKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import OpenStore


@pytest.mark.parametrize("key", [None, 1, b"a", 1.5, ("a",), Store], ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_key_that_is_no_str_is_a_type_error(
    open_store: OpenStore, call: Callable[[Store, Any], object], key: Any
) -> None:
    store = open_store("memory")
    with pytest.raises(TypeError, match="key must be a str or a Key, not "):
        call(store, key)
    assert store.count() == 0


@pytest.mark.parametrize("call", ["keys", "items", "count", "clear"])
def test_a_prefix_that_is_no_str_is_a_type_error(open_store: OpenStore, call: str) -> None:
    with pytest.raises(TypeError, match="prefix must be a str, not NoneType"):
        getattr(open_store("memory"), call)(None)


@pytest.mark.parametrize("name", [None, 1.5, True, b"a", Key("a")], ids=repr)
def test_a_name_of_another_type_is_a_type_error(open_store: OpenStore, name: Any) -> None:
    with pytest.raises(TypeError, match="must be a str, int or UUID, not "):
        open_store("memory").namespace(name)


@pytest.mark.parametrize("name", ["", "a\0", "\ud800", "n" * 255], ids=ascii)
def test_an_unfit_name_is_refused(open_store: OpenStore, name: str) -> None:
    with pytest.raises(InvalidKeyError):
        open_store("memory").namespace(name)
