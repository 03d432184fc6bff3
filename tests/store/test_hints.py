"""What a store says to the words of Django's cache."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_persist import Store, persist
from tests.conftest import OpenStore


@pytest.fixture(params=["store", "persist"])
def store(request: pytest.FixtureRequest, open_store: OpenStore) -> Any:
    """The default store, itself and through its proxy. Any, as a type checker would object."""
    store = open_store("memory")
    return store if request.param == "store" else persist


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("delete", r"remove\(\)"),
        ("delete_many", r"remove_many\(\)"),
        ("add", r"create\(\)"),
        ("get_or_set", r"get_or_create\(\)"),
        ("has_key", "`key in store`"),
        ("decr", r"incr\(\)"),
        ("expire", r"touch\(\)"),
        ("ttl", r"get_item\(\)"),
    ],
)
def test_another_name_hints_at_ours(store: Any, name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=f"A store has no {name!r}. Use {hint}"):
        getattr(store, name)("key")
    assert not hasattr(store, name)
    assert not hasattr(store.namespace("n"), name)
    assert getattr(store, name, None) is None


def test_any_other_name_is_an_ordinary_error(store: Any) -> None:
    with pytest.raises(AttributeError, match="'Store' object has no attribute 'nothing'"):
        _ = store.nothing
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        store.set("a", 1, nothing=5)


WRONG: dict[str, Callable[[Any, Any], object]] = {
    "set timeout": lambda store, expires: store.set("a", 1, timeout=expires),
    "set third": lambda store, expires: store.set("a", 1, expires),
    "create timeout": lambda store, expires: store.create("b", 1, timeout=expires),
    "create third": lambda store, expires: store.create("b", 1, expires),
    "touch timeout": lambda store, expires: store.touch("a", timeout=expires),
    "get_or_create timeout": lambda store, expires: store.get_or_create("b", 1, timeout=expires),
    "get_or_create third": lambda store, expires: store.get_or_create("b", 1, expires),
    "set_many timeout": lambda store, expires: store.set_many({"a": 1}, timeout=expires),
    "set_many second": lambda store, expires: store.set_many({"a": 1}, expires),
    "create_many timeout": lambda store, expires: store.create_many({"b": 1}, timeout=expires),
    "create_many second": lambda store, expires: store.create_many({"b": 1}, expires),
}


@pytest.mark.parametrize("expires", [60, None, timedelta(1)])
@pytest.mark.parametrize("call", WRONG)
def test_another_way_to_pass_an_expiry_hints_at_ours(store: Any, call: str, expires: Any) -> None:
    store.set("a", 0)
    name = call.split()[0]
    with pytest.raises(TypeError, match=rf"Store\.{name}\(\) takes the expiry by name: expires=60"):
        WRONG[call](store, expires)
    assert dict(store.items()) == {"a": store.get_item("a")}
    assert store.get("a") == 0


def test_a_store_is_still_copied(store: Any) -> None:
    assert isinstance(store.namespace("a").namespace("b"), Store)
