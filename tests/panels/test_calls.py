"""What the panel shows for a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.template import engines
from django.utils.html import escape

from django_persist import REMOVE, Key, Store, panels, persist, stores
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import DecodeError, DuplicateKeyError, InvalidKeyError
from tests.panels.conftest import visit


def catching(error: type[Exception], call: Callable[[Store], object]) -> Callable[[Store], object]:
    def caught(store: Store) -> None:
        with pytest.raises(error):
            call(store)

    return caught


CART = Key("cart:{user_id}", as_=list[str])

CALLS: dict[str, tuple[Callable[[Store], object], dict[str, Any]]] = {
    # The call, and what it shows that differs from `usual` below.
    "get": (lambda store: store.get("here"), {"hits": 1}),
    "get none": (lambda store: store.get("none"), {"hits": 1, "keys": ["none"]}),
    "get absent": (lambda store: store.get("a", 5), {"misses": 1, "keys": ["a"]}),
    "get wrong": (lambda store: store.get("here", as_=int), {"misses": 1}),
    "get item": (lambda store: store.get_item(key="here"), {"name": "get_item", "hits": 1}),
    "get no item": (
        lambda store: store.get_item("a"),
        {"name": "get_item", "misses": 1, "keys": ["a"]},
    ),
    "in": (lambda store: "here" in store, {"hits": 1}),
    "not in": (lambda store: "a" in store, {"name": "in", "misses": 1, "keys": ["a"]}),
    "pop": (lambda store: store.pop("here"), {"hits": 1}),
    "remove": (lambda store: store.remove("a"), {"misses": 1, "keys": ["a"]}),
    "touch": (lambda store: store.touch("here", 60), {"hits": 1}),
    "set": (lambda store: store.set("here", 1), {}),
    "create": (
        catching(DuplicateKeyError, lambda store: store.create("here", 1)),
        {"error": "DuplicateKeyError"},
    ),
    "update": (lambda store: store.update("here", lambda text: REMOVE), {}),
    "incr": (lambda store: store.incr("a", 2), {"keys": ["a"]}),
    "get_or_create": (lambda store: store.get_or_create("here", 1), {"hits": 1}),
    "get_or_create one": (
        lambda store: store.get_or_create("a", list),
        {"misses": 1, "keys": ["a"]},
    ),
    "get_many": (
        lambda store: store.get_many(iter(["here", "a", "b", "a"])),
        {"hits": 1, "misses": 2, "keys": ["here", "a", "b", "a"]},
    ),
    "set_many": (lambda store: store.set_many({"a": 1, "b": 2}), {"keys": ["a", "b"]}),
    "replace": (lambda store: store.replace("here", 1, "no version"), {"misses": 1}),
    "create_many": (
        lambda store: store.create_many({"a": 1, "here": 2, "b": 3}),
        {"hits": 1, "misses": 2, "keys": ["a", "here", "b"]},
    ),
    "remove_many": (
        lambda store: store.remove_many(key for key in ["here", "a"]),
        {"hits": 1, "misses": 1, "keys": ["here", "a"]},
    ),
    "many": (
        lambda store: store.remove_many(list("abcdefghijklmn")),
        {"name": "remove_many", "misses": 14, "keys": list("abcdefghij"), "more": 4},
    ),
    "count": (lambda store: store.count("h"), {"keys": ["h"], "entries": 1}),
    "clear": (lambda store: store.clear(), {"keys": [], "entries": 2}),
    "purge": (lambda store: store.purge(), {"keys": [], "entries": 0}),
    "keys": (lambda store: list(store.keys()), {"keys": [], "entries": 2}),
    "items": (lambda store: next(store.items("h")), {"keys": ["h"], "entries": 1}),
    "wrong key": (
        catching(TypeError, lambda store: store.get(b"here")),  # type: ignore[call-overload]
        {"name": "get", "keys": ["<bytes>"], "error": "TypeError"},
    ),
    "typed key": (
        lambda store: store.set(CART(user_id="a:b"), []),
        {"name": "set", "keys": ["cart:a%3Ab"]},
    ),
    "key without its parts": (
        catching(InvalidKeyError, lambda store: store.get(CART)),
        {"name": "get", "keys": ["cart:{user_id}"], "error": "InvalidKeyError"},
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_call_is_shown_with_its_result(call: str) -> None:
    persist.set_many({"here": "text", "none": None}, expires=60)
    function, expected = CALLS[call]
    shown = visit(lambda request: function(request.persist))
    [found] = shown.calls
    usual = {"name": call.split()[0], "keys": ["here"], "hits": 0, "misses": 0, "error": ""}
    assert {name: found[name] for name in (usual | expected)} == usual | expected
    assert (found["store"], found["driver"]) == ("default", "MemoryDriver")
    assert 0 < found["time"] < 10_000
    assert found["trace"][-1]["path"] == __file__
    assert found["where"].startswith("panels/test_calls.py:")
    shown_as = [
        f"<td>{found['name']}</td>",
        f"<td>{escape(found['where'])}</td>",
        *([f"<code>{escape(', '.join(found['keys']))}</code>"] if found["keys"] else []),
    ]
    assert [text for text in shown_as if text not in shown.shown] == []


def test_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from debug_toolbar.settings import get_config
    from debug_toolbar.utils import get_stack_trace

    # Only here: it formats all that pytest's own frames hold, which takes a tenth of a second.
    monkeypatch.setitem(get_config(), "ENABLE_STACKTRACES_LOCALS", True)
    secret = f"secret {4242 * 10001}"
    key = Key("b", as_=str)

    def stores_a_secret(request: Any) -> None:
        store = request.persist
        store.set("a", secret)
        store.create(key, secret)
        store.set_many({"c": secret, "d": [secret]})
        assert store.get("x", secret) == store.get("a") == store.pop(key, secret) == secret
        assert store.update("a", lambda text: text + secret, secret) == 2 * secret
        assert store.get_or_create("a", secret)[0] == 2 * secret
        assert len(list(store.items())) == 3
        assert store.get("a", as_=int) is None
        with pytest.raises(DecodeError):
            store.get("a", as_=int, strict=True)
        with pytest.raises(TypeError):
            store.get("a", {secret: object()}, secret)
        assert secret in get_stack_trace()[-1][-1]  # type: ignore[no-untyped-call]

    shown = visit(stores_a_secret)
    assert len(shown.calls) == 12
    assert secret not in shown.shown
    assert secret not in repr(shown.stats)
    assert secret not in repr(shown.response.headers)


def test_panel_does_not_change_results() -> None:
    default = object()

    def compares(request: Any) -> None:
        store = request.persist
        store.set("none", None)
        assert store.get("none", 5) is None
        assert (store.get("a"), store.get("a", default), store.pop("a", default=default)) == (
            *(None, default),
            default,
        )
        assert store.get_many(key for key in ("none", "a")) == {"none": None}
        for wrong in (
            store.get,
            lambda: store.set("a", b=1),
            lambda: store.get_many("a"),
        ):
            with pytest.raises(TypeError, match=r"Store\.(get|set)\(\)|iterable of keys"):
                wrong()
        assert list(store.keys()) == ["none"]
        with pytest.raises(InvalidKeyError):
            store.keys("\0")

    visit(compares)


def test_calls_are_summed_up_by_store() -> None:
    def calls_stores(request: Any) -> None:
        request.persist.namespace("n").namespace("m").set("a", 1)
        persist.get("a")
        stores["hot"].set("a", 1)
        assert "a" in stores["hot"]
        stores["hot"].namespace("n").get_many(["a", "b"])
        Store(MemoryDriver("not in PERSIST")).get("a")

    shown = visit(calls_stores)
    assert [(call["store"], *call["keys"]) for call in shown.calls] == [
        ("default", "n:m:a"),
        ("default", "a"),
        ("hot", "a"),
        ("hot", "a"),
        ("hot", "n:a", "n:b"),
        ("", "a"),
    ]
    sums = [
        (*(total[name] for name in ("store", "calls", "hits", "misses")),)
        for total in shown.stats["stores"]
    ]
    assert sums == [("default", 2, 0, 1), ("hot", 3, 1, 2), ("", 1, 0, 1)]
    total = sum(call["time"] for call in shown.calls)
    assert shown.stats["time"] == pytest.approx(total)
    assert f"6 calls in {total:.2f}ms" in shown.response.content.decode()
    assert "Persist 6 Calls" in shown.response.headers["Server-Timing"]


def test_repeated_reads_are_listed() -> None:
    def reads(request: Any) -> None:
        for _ in range(2):
            persist.get("twice")
        persist.get_item("twice")
        persist.get_many(["once", "twice"])
        persist.set("once", 1)
        persist.namespace("n").get("twice")
        for _ in range(2):
            assert "often" not in stores["hot"]

    shown = visit(reads)
    assert shown.stats["repeated"] == [
        {"store": "default", "key": "twice", "times": 4},
        {"store": "hot", "key": "often", "times": 2},
    ]
    assert [call["times"] for call in shown.calls] == [4, 4, 4, 4, 0, 1, 2, 2]
    assert shown.shown.count("read 4 times") == 4
    assert "<h4>Read more than once" in shown.shown
    assert "<h4>Read" not in visit(lambda request: persist.get("a")).shown


def test_request_without_calls() -> None:
    shown = visit(lambda request: None)
    assert shown.calls == []
    assert "called no store" in shown.shown
    assert "0 calls in 0.00ms" in shown.response.content.decode()


@pytest.mark.parametrize("key", ["<b>bold</b>", "\ud800", "\0", "x" * 100_000, "", "é✓"])
def test_panel_can_show_any_key(key: str) -> None:
    def asks(request: Any) -> None:
        with suppress(InvalidKeyError):
            persist.get(key)

    shown = visit(asks)
    assert len(shown.calls) == 1
    assert "<b>" not in shown.shown
    assert len(shown.shown) < 50_000
    shown.shown.encode()


def test_time_of_a_listing_is_the_time_of_its_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slowly(driver: MemoryDriver, prefix: str) -> Iterator[str]:
        for key in ("a", "b"):
            time.sleep(0.01)
            yield key

    def lists(request: Any) -> None:
        listing = persist.keys()
        assert list(listing) == ["a", "b"]
        assert next(persist.keys()) == "a"
        persist.keys()  # Does nothing before it is iterated over.

    monkeypatch.setattr(MemoryDriver, "keys", slowly)
    listed, abandoned = visit(lists).calls
    assert (listed["entries"], abandoned["entries"]) == (2, 1)
    assert listed["time"] > 20 > abandoned["time"] > 10


def test_call_in_a_template_is_shown_with_its_line() -> None:
    template = engines["django"].from_string("one\n{{ request.persist.count }} entries\nthree")
    shown = visit(lambda request: template.render({}, request))
    [call] = shown.calls
    assert call["where"] == "<unknown source>:2" or call["where"].endswith(":2")
    assert "{{ request.persist.count }} entries" in shown.shown


def test_calls_inside_an_update_function_are_recorded() -> None:
    def calls_within(request: Any) -> None:
        persist.update("a", lambda number: number + persist.incr("b"), 1)

    outer, inner = visit(calls_within).calls
    assert (outer["name"], inner["name"]) == ("update", "incr")
    assert outer["time"] > inner["time"]


def test_panel_keeps_a_bounded_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "CALLS_KEPT", 10)  # Each takes a stack trace.
    monkeypatch.setattr(panels, "KEYS_COUNTED", 200)

    def asks_often(request: Any) -> None:
        for number in range(20):
            persist.get(f"key {number % 14}")
        persist.get_many([f"many {number}" for number in range(600)])

    shown = visit(asks_often)
    assert len(shown.calls) == 10
    assert shown.stats["number"] == 21
    [total] = shown.stats["stores"]
    assert total["calls"] == 21
    assert total["misses"] == 620
    assert len(shown.stats["repeated"]) == 6
    assert "<p>The first 10 of 21 calls" in shown.shown
    assert "<p>The first" not in visit(lambda request: persist.get("a")).shown
