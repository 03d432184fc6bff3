"""What a tracer learns about the calls of a store, and that there is no trace without one."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from django_persist import REMOVE, Key, Store, persist, stores
from django_persist.contract.threads import together
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import DuplicateKeyError, InvalidKeyError, StoreUnavailableError
from django_persist.tracing import METHODS, Call, Tracer, add_tracer, remove_tracer
from tests.conftest import MEMORY
from tests.interruptions.moments import LimitError, each_moment

CART = Key("cart:{user_id}", as_=list[str])

Begin = Callable[[Tracer], None]


@pytest.fixture(autouse=True)
def in_memory(settings: Any) -> Iterator[None]:
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY, "OPTIONS": {"name": "default of tracing"}},
        "hot": {"BACKEND": MEMORY, "OPTIONS": {"name": "hot of tracing"}, "PREFIX": "secret:"},
    }
    yield
    for alias in stores:
        stores[alias].clear()


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Adds a tracer until the end of the test."""
    added: list[Tracer] = []

    def begin(tracer: Tracer) -> None:
        added.append(tracer)
        add_tracer(tracer)

    yield begin
    for tracer in added:
        remove_tracer(tracer)


@pytest.fixture
def calls(begin: Begin) -> list[Call]:
    """The calls that have ended, in the order in which they did."""
    ended: list[Call] = []

    @contextmanager
    def note(call: Call) -> Iterator[None]:
        assert (call.hits, call.misses, call.error, call.seconds) == (None, None, None, 0)
        yield
        ended.append(call)

    begin(note)
    return ended


CALLS: dict[str, tuple[Callable[[Store], object], Any]] = {
    # The call; then its keys, its outcome and its entries.
    "get": (lambda store: store.get("here"), (["here"], "hit", None)),
    "get of None": (lambda store: store.get("none"), (["none"], "hit", None)),
    "get of nothing": (lambda store: store.get("a", default=5), (["a"], "miss", None)),
    "get of another type": (lambda store: store.get("here", as_=int), (["here"], "miss", None)),
    "get_item": (lambda store: store.get_item("here"), (["here"], "hit", None)),
    "get_item of nothing": (lambda store: store.get_item("a"), (["a"], "miss", None)),
    "in": (lambda store: "here" in store, (["here"], "hit", None)),
    "pop": (lambda store: store.pop("a", 5), (["a"], "miss", None)),
    "remove": (lambda store: store.remove("here"), (["here"], "hit", None)),
    "replace": (lambda store: store.replace("here", 1, "other"), (["here"], "miss", None)),
    "touch": (lambda store: store.touch("a", 60), (["a"], "miss", None)),
    "set": (lambda store: store.set("here", 1), (["here"], None, None)),
    "create": (lambda store: store.create("a", 1), (["a"], None, None)),
    "update": (lambda store: store.update("here", lambda _: REMOVE), (["here"], None, None)),
    "incr": (lambda store: store.incr("a"), (["a"], None, None)),
    "get_or_create": (lambda store: store.get_or_create("here", 1), (["here"], "hit", None)),
    "get_or_create of a new": (lambda store: store.get_or_create("a", 1), (["a"], "miss", None)),
    "get_many": (
        lambda store: store.get_many(iter(["here", "a", "a"])),
        (["here", "a", "a"], "partial", None),
    ),
    "get_many of all": (
        lambda store: store.get_many(["here", Key("none")]),
        (["here", "none"], "hit", None),
    ),
    "set_many": (lambda store: store.set_many({"a": 1, "b": 2}), (["a", "b"], None, None)),
    "create_many": (
        lambda store: store.create_many({"a": 1, "here": 2}),
        (["a", "here"], "partial", None),
    ),
    "remove_many": (
        lambda store: store.remove_many(["here", Key("here")]),
        (["here", "here"], "hit", None),
    ),
    "count": (lambda store: store.count("h"), (["h"], None, 1)),
    "clear": (lambda store: store.clear(), ([], None, 2)),
    "purge": (lambda store: store.purge(), ([], None, 0)),
    "keys": (lambda store: list(store.keys("h")), (["h"], None, 1)),
    "items": (lambda store: list(store.items()), ([], None, 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_has_its_keys_and_its_outcome(name: str, calls: list[Call]) -> None:
    persist.set_many({"here": "text", "none": None}, expires=60)
    calls.clear()
    function, (keys, outcome, entries) = CALLS[name]
    function(persist)
    [call] = calls
    assert call.name == name.split()[0]
    assert (list(call.keys), call.outcome, call.entries) == (keys, outcome, entries)
    assert (call.alias, call.error) == ("default", None)
    assert call.store.driver is persist.driver
    assert 0 < call.seconds < 10


def test_every_call_of_a_store_is_traced() -> None:
    public = {name for name in dir(persist) if callable(getattr(persist, name))}
    public = {name for name in public if not name.startswith("_")} | {"__contains__"}
    assert public - set(METHODS) == {"namespace", "place"}
    tested = {name.split()[0] for name in CALLS}
    assert tested - {"in"} | {"__contains__"} == set(METHODS)


def test_alias_namespace_and_template_of_a_call(calls: list[Call]) -> None:
    stores["hot"].namespace("n").get(CART(user_id="a:b"))
    persist.get_many([CART(user_id=1), CART(user_id=2)])
    persist.get_many([CART(user_id=1), "cart:2"])
    persist.get(Key("cart:1"))
    Store(MemoryDriver("not in PERSIST")).count()
    assert [(call.alias, call.keys, call.template) for call in calls] == [
        ("hot", ("n:cart:a%3Ab",), "cart:{user_id}"),
        ("default", ("cart:1", "cart:2"), "cart:{user_id}"),
        ("default", ("cart:1", "cart:2"), None),
        ("default", ("cart:1",), None),
        (None, (), None),
    ]


def test_error_of_a_call_reaches_the_caller_and_the_tracer(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    persist.create("a", 1)
    with pytest.raises(DuplicateKeyError):
        persist.create("a", 2)
    with pytest.raises(TypeError):
        persist.get(b"a")  # type: ignore[call-overload]
    with pytest.raises(InvalidKeyError):
        persist.keys("\0")
    with pytest.raises(ZeroDivisionError):
        persist.update("a", lambda number: number / 0)

    def cut_off(driver: MemoryDriver, prefix: str) -> Iterator[str]:
        yield "a"
        raise StoreUnavailableError("cut off")

    with monkeypatch.context() as patched, pytest.raises(StoreUnavailableError):
        patched.setattr(MemoryDriver, "keys", cut_off)
        list(persist.keys())
    assert [(call.name, call.error) for call in calls] == [
        ("create", None),
        ("create", DuplicateKeyError),
        ("get", TypeError),
        ("keys", InvalidKeyError),
        ("update", ZeroDivisionError),
        ("keys", StoreUnavailableError),
    ]
    assert calls[2].keys == ("<bytes>",)
    assert calls[-1].entries == 1


def test_invalid_arguments_are_refused_as_without_a_tracer(calls: list[Call]) -> None:
    wrong: list[Callable[[], object]] = [
        persist.get,  # type: ignore[list-item]
        lambda: persist.set("a", b=1),  # type: ignore[call-overload]
        lambda: persist.get_many("a"),
        lambda: persist.get_many(["a"], keys=["b"]),  # type: ignore[call-overload]
        lambda: persist.get_many(iter(["a"]), keys=iter(["b"])),  # type: ignore[call-overload]
        lambda: persist.pop("a", 1, default=2),  # type: ignore[call-overload]
        lambda: persist.set_many(5),  # type: ignore[call-overload]
    ]
    for function in wrong:
        with pytest.raises(TypeError, match=r"Store\.\w+\(\)|iterable"):
            function()
    assert [call.error for call in calls] == [TypeError] * len(wrong)
    assert persist.get_many(keys=iter(["a"])) == {}
    assert calls[-1].keys == ("a",)


def test_no_value_is_reachable_from_a_call(calls: list[Call]) -> None:
    secret = "a secret"
    persist.set("a", secret)
    persist.set_many({"a": secret})
    persist.get("b", secret)
    persist.get_or_create("c", secret)
    persist.update("a", lambda text: text + secret)
    with suppress(TypeError):
        persist.get({"a": secret}, secret)  # type: ignore[call-overload]
    shown = [(call.keys, call.template, call.outcome, call.error, call.alias) for call in calls]
    assert len(shown) == 6
    assert secret not in repr(shown)


def test_listing_is_traced_while_it_is_iterated_over(calls: list[Call]) -> None:
    persist.set_many({"a": 1, "b": 2})
    calls.clear()
    listing = persist.keys()
    persist.items()  # Never iterated over: it asks for nothing.
    assert calls == []
    assert next(listing)
    persist.get("a")  # Ends within the listing.
    del listing
    list(persist.items())
    assert [(call.name, call.entries) for call in calls] == [
        ("get", None),
        ("keys", 1),
        ("items", 2),
    ]


def test_calls_within_an_update_are_traced_within_it(begin: Begin) -> None:
    events = []

    @contextmanager
    def note(call: Call) -> Iterator[None]:
        events.append(f"begin {call.name}")
        yield
        events.append(f"end {call.name}")

    begin(note)
    persist.update("a", lambda number: number + persist.incr("b"), 1)
    assert events == ["begin update", "begin incr", "end incr", "end update"]


def test_tracers_are_nested_and_one_may_leave_a_call_alone(begin: Begin) -> None:
    events = []

    def note(name: str) -> Tracer:
        @contextmanager
        def noted(call: Call) -> Iterator[None]:
            events.append(name)
            yield
            events.append(f"{name} ends")

        return noted

    begin(note("first"))
    begin(lambda call: None)
    begin(note("second"))
    persist.get("a")
    assert events == ["first", "second", "second ends", "first ends"]


def test_tracer_that_is_added_twice_traces_a_call_once(begin: Begin) -> None:
    traced = []

    def note(call: Call) -> None:
        traced.append(call.name)

    begin(note)
    begin(note)
    persist.get("a")
    assert traced == ["get"]


def test_tracer_that_fails_is_logged_and_changes_nothing(
    begin: Begin, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    def raises_a_secret(value: int) -> int:
        raise ValueError("a secret")

    def fails_at_once(call: Call) -> AbstractContextManager[None]:
        raise ZeroDivisionError("at once")

    @contextmanager
    def fails_first(call: Call) -> Iterator[None]:
        if call.name:
            raise ZeroDivisionError("first")
        yield

    @contextmanager
    def fails_later(call: Call) -> Iterator[None]:
        yield
        raise ZeroDivisionError("later")

    @contextmanager
    def swallows(call: Call) -> Iterator[None]:
        with suppress(BaseException):
            yield

    for tracer in (fails_at_once, fails_first, fails_later, swallows):
        begin(tracer)
    persist.set("a", 1)
    assert persist.get("a") == 1
    with pytest.raises(ValueError, match="a secret"):
        persist.update("a", raises_a_secret)
    with pytest.raises(ValueError, match="a secret"):
        for number, _ in enumerate(persist.keys()):
            raises_a_secret(number)
    assert len(calls) == 4
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 12
    assert caplog.text.count("ZeroDivisionError: later") == 4
    assert "in fails_later" in caplog.text
    assert "secret" not in caplog.text.replace("raises_a_secret", "")


def test_without_a_tracer_the_methods_of_store_are_untouched() -> None:
    originals = {name: getattr(Store, name) for name in METHODS}
    assert not any(hasattr(each, "__wrapped__") for each in originals.values())
    tracers: list[Tracer] = [lambda call: None, lambda call: None]
    for tracer in (*tracers, *tracers):  # Adding one twice is adding it once.
        add_tracer(tracer)
    assert not {getattr(Store, name) for name in METHODS} & set(originals.values())
    remove_tracer(tracers[0])
    assert Store.get is not originals["get"]
    remove_tracer(tracers[0])
    remove_tracer(tracers[1])
    assert {name: getattr(Store, name) for name in METHODS} == originals


def test_tracers_come_and_go_while_others_call() -> None:
    counted = []
    stop = threading.Event()

    def come_and_go(number: int) -> int:
        if number == 0:
            for _ in range(200):
                tracer: Tracer = lambda call: counted.append(call.name)  # noqa: E731
                add_tracer(tracer)
                persist.incr("a")
                remove_tracer(tracer)
            stop.set()
            return 200
        calls = 0
        while not stop.is_set():
            persist.incr("a")
            calls += 1
        return calls

    assert sum(together(come_and_go)) == persist.get("a")
    assert len(counted) >= 200
    assert not hasattr(Store.incr, "__wrapped__")


@pytest.mark.parametrize("name", ["get", "keys"])
def test_time_limit_that_comes_within_a_tracer_ends_the_call(begin: Begin, name: str) -> None:
    @contextmanager
    def tracer(call: Call) -> Iterator[None]:
        str(call)
        yield
        str(call)

    begin(tracer)
    function, _ = CALLS[name]
    files = ("tests/test_tracing.py",)
    assert list(each_moment(lambda: lambda: function(persist), files, LimitError))


def leaving(left: list[int]) -> Tracer:
    """Return a tracer that notes when it is left, and can't be interrupted itself."""
    note = SimpleNamespace(close=partial(left.append, 1))
    return lambda call: closing(note)


def test_interruption_of_one_tracer_leaves_the_others(begin: Begin) -> None:
    left: list[int] = []

    @contextmanager
    def stopping(call: Call) -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    begin(leaving(left))
    begin(stopping)
    with pytest.raises(KeyboardInterrupt):
        persist.get("here")
    assert left == [1]
    with pytest.raises(KeyboardInterrupt):
        list(persist.keys())
    assert left == [1, 1]


def test_what_a_system_call_of_a_tracer_raises_does_not_end_the_call(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def unconnected(call: Call) -> Iterator[None]:
        socket.create_connection(("127.0.0.1", 1), timeout=1)
        yield

    begin(unconnected)
    persist.set("here", 1)
    assert persist.get("here") == 1
    assert caplog.text.count("ConnectionRefusedError") >= 2
