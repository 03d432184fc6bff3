"""Connections cut at every point of a call: it reports what happened, and sends nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import KEEP, REMOVE, Store
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import leave_expired
from tests.drivers.database.conftest import ProxiedStore
from tests.servers.proxy import Fault

pytestmark = pytest.mark.usefixtures("way")

CUTS = pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN])
HOUR = timedelta(hours=1)
MANY = [f"many:{i}" for i in range(5)]


class Call(NamedTuple):
    """A call whose connection is cut after `done` of its statements."""

    call: Callable[[Store], Any]
    done: int = 0
    doubtful: bool = False
    """Whether the next statement may take effect without a reply that says so."""


def set_many(store: Store) -> None:
    store.set_many(dict.fromkeys(MANY, 2))


def create_many(store: Store) -> None:
    store.driver.create_many([(key, b"1", None) for key in ("key", "new", "newer")])


def purge(store: Store) -> None:
    store.purge()


def remove_many(store: Store) -> None:
    store.remove_many(MANY)


def update(store: Store) -> None:
    store.update("key", lambda value: value + 1)


READS = {
    "get": Call(lambda store: store.get("key")),
    "get_item": Call(lambda store: store.get_item("key")),
    "contains": Call(lambda store: "key" in store),
    "get_many": Call(lambda store: store.get_many(["key", "other"])),
    "get_many, second chunk": Call(lambda store: store.get_many(MANY), 1),
    "keys": Call(lambda store: list(store.keys())),
    "keys, second page": Call(lambda store: list(store.keys()), 1),
    "items": Call(lambda store: list(store.items())),
    "items, third page": Call(lambda store: list(store.items()), 2),
    "count": Call(lambda store: store.count()),
    "pop, reading": Call(lambda store: store.pop("key")),
    "update, reading": Call(update),
    "get_or_create, reading": Call(lambda store: store.get_or_create("new", 1)),
    "clear, listing": Call(lambda store: store.clear()),
}
WRITES = {
    "create": Call(lambda store: store.create("new", 1), 0, True),
    "create over expired": Call(lambda store: store.create("expired", 2), 0, True),
    "set": Call(lambda store: store.set("key", 2), 0, True),
    "set, keeping": Call(lambda store: store.set("key", 2, expires=KEEP), 0, True),
    "remove": Call(lambda store: store.remove("key"), 0, True),
    "touch": Call(lambda store: store.touch("key", 60), 0, True),
    "incr": Call(lambda store: store.incr("key"), 0, True),
    "advance": Call(lambda store: store.driver.advance("new", HOUR, HOUR), 0, True),
    "advance over expired": Call(
        lambda store: store.driver.advance("expired", HOUR, HOUR), 0, True
    ),
    "pop, removing": Call(lambda store: store.pop("key"), 1, True),
    "update, creating": Call(lambda store: store.update("new", lambda n: n + 1, 1), 1, True),
    "update, replacing": Call(update, 1, True),
    "update, removing": Call(lambda store: store.update("key", lambda _: REMOVE), 1, True),
    "get_or_create, creating": Call(lambda store: store.get_or_create("new", 1), 1, True),
    "set_many": Call(lambda store: store.set_many({"key": 2, "new": 2}), 0, True),
    "remove_many": Call(lambda store: store.remove_many(["key", "many:1"]), 0, True),
    "clear, removing": Call(lambda store: store.clear(), 1, True),
    # Nothing in a transaction takes effect before its COMMIT is sent.
    "set_many, first chunk": Call(set_many, 0, False),
    "set_many, third chunk": Call(set_many, 2, False),
    "set_many, at COMMIT": Call(set_many, 3, True),
    "remove_many, third chunk": Call(remove_many, 2, False),
    "remove_many, at COMMIT": Call(remove_many, 3, True),
    "create_many, before its COMMIT": Call(create_many, 0, False),
    "purge": Call(purge, 0, False),
}
COMMIT: dict[Callable[[Store], Any], dict[str, int]] = {
    purge: {"postgresql": 1, "mariadb": 3, "mysql": 3},
    create_many: {"postgresql": 2, "mariadb": 8, "mysql": 8},
}
"""After how many statements the transaction is committed."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_persist.keyspace.CHUNK", 2)
    monkeypatch.setattr("django_persist.drivers.database.statements.rows.CHUNK_KEYS", 2)
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_KEYS", 2)
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_ITEMS", 2)


@contextmanager
def after_statements(using: str, done: int, action: Callable[[], Any]) -> Iterator[None]:
    """Do something after `done` statements."""
    left = done

    def count(execute: Any, *args: Any) -> Any:
        nonlocal left
        result = execute(*args)
        left -= 1
        if left == 0:
            action()
        return result

    if done == 0:
        action()
    with connections[using].execute_wrapper(count):
        yield


@contextmanager
def cut(proxied: ProxiedStore, fault: Fault, done: int) -> Iterator[None]:
    """Let the fault happen after `done` statements."""
    proxied.proxy.requests.clear()
    try:
        with after_statements(proxied.alias, done, lambda: setattr(proxied.proxy, "fault", fault)):
            yield
    finally:
        proxied.proxy.fault = None


def fill(proxied: ProxiedStore) -> list[Any]:
    """Store what the calls work on, and return it as the server has it."""
    leave_expired(proxied.store, {"expired": 1})
    proxied.store.set_many({"key": 1, "kept": 1, **dict.fromkeys(MANY, 1)}, expires=600)
    return proxied.rows()


def assert_reported(proxied: ProxiedStore, fault: Fault, call: Call) -> None:
    before = fill(proxied)
    with pytest.raises(StoreUnavailableError) as caught, cut(proxied, fault, call.done):
        call.call(proxied.store)
    assert isinstance(caught.value, OperationalError)
    assert isinstance(caught.value.__cause__, Exception)
    assert caught.value.maybe_applied is call.doubtful
    assert (proxied.rows() != before) is (call.doubtful and fault is not Fault.BEFORE)
    proxied.store.set("again", 1)
    assert proxied.store.get_many(["again", "none"]) == {"again": 1}


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.WITHIN])
@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_a_read_that_is_cut_off_changes_nothing(
    call: Call, fault: Fault, proxied: ProxiedStore
) -> None:
    assert_reported(proxied, fault, call)


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.WITHIN])
@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_a_write_that_is_cut_off_reports_whether_it_may_apply(
    call: Call, fault: Fault, proxied: ProxiedStore
) -> None:
    assert_reported(proxied, fault, call)


@CUTS
@pytest.mark.parametrize("call", COMMIT)
def test_a_call_that_is_cut_off_at_commit_may_apply(
    call: Callable[[Store], Any], fault: Fault, proxied: ProxiedStore
) -> None:
    assert_reported(proxied, fault, Call(call, COMMIT[call][proxied.direct], True))


STEPS: dict[str, Call] = {
    "clear, second page": Call(lambda store: store.clear(), 2, True),
    "clear, second chunk": Call(lambda store: store.clear(), 3, True),
    "purge, second batch": Call(lambda store: store.purge(batch_size=1), -1, True),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("call", STEPS.values(), ids=STEPS)
def test_steps_before_the_cut_keep_their_effect(
    call: Call, inside: bool, proxied: ProxiedStore
) -> None:
    leave_expired(proxied.store, {"first": 1, "second": 1, "third": 1})
    before = fill(proxied)
    transaction_or_none = transaction.atomic(proxied.alias) if inside else nullcontext()
    done = COMMIT[purge][proxied.direct] + 1 if call.done == -1 else call.done
    with (
        pytest.raises(StoreUnavailableError) as caught,
        transaction_or_none,
        cut(proxied, Fault.BEFORE, done),
    ):
        call.call(proxied.store)
    assert caught.value.maybe_applied is not inside
    assert (proxied.rows() == before) is inside


@CUTS
def test_an_incr_that_is_cut_off_is_sent_once(fault: Fault, proxied: ProxiedStore) -> None:
    proxied.store.set("counter", 0)
    for n in range(5):
        with pytest.raises(StoreUnavailableError), cut(proxied, fault, 0):
            proxied.store.incr("counter")
        assert b"".join(proxied.proxy.requests).count(b"INSERT INTO") == 1
        assert proxied.store.get("counter") == (0 if fault is Fault.BEFORE else n + 1)


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_a_call_that_is_cut_off_inside_a_transaction_applies_nothing(
    call: Call, proxied: ProxiedStore
) -> None:
    if call.call in (set_many, remove_many) and call.done == 3:
        call = call._replace(done=2)  # It sends no COMMIT of its own.
    before = fill(proxied)
    with pytest.raises(StoreUnavailableError) as caught, transaction.atomic(proxied.alias):
        proxied.store.set("mine", 1)
        with cut(proxied, Fault.BETWEEN, call.done):
            call.call(proxied.store)
    assert caught.value.maybe_applied is False
    assert proxied.rows() == before
    proxied.store.set("again", 1)
    assert proxied.store.get("again") == 1


BROKEN = (transaction.TransactionManagementError, StoreUnavailableError)


@CUTS
def test_a_transaction_that_was_cut_off_cannot_continue(
    fault: Fault, proxied: ProxiedStore
) -> None:
    with transaction.atomic(proxied.alias):
        proxied.store.set("mine", 1)
        with cut(proxied, fault, 0), pytest.raises(StoreUnavailableError):
            proxied.store.set("mine", 2)
        with pytest.raises(BROKEN):
            proxied.store.set("mine", 3)
    assert proxied.rows() == []
    proxied.store.set("again", 1)
    assert proxied.store.get("again") == 1


@CUTS
def test_a_savepoint_of_a_transaction_that_was_cut_off_saves_nothing(
    fault: Fault, proxied: ProxiedStore
) -> None:
    with pytest.raises(BROKEN), transaction.atomic(proxied.alias):
        proxied.store.set("mine", 1)
        with pytest.raises(StoreUnavailableError), transaction.atomic(proxied.alias):
            proxied.proxy.fault = fault
            proxied.store.set("mine", 2)
        proxied.proxy.fault = None
        proxied.store.set("mine", 3)
    assert proxied.rows() == []
    proxied.store.set("again", 1)
    assert proxied.store.get("again") == 1


@CUTS
def test_a_commit_of_the_caller_that_is_cut_off_raises_django_s_error(
    fault: Fault, proxied: ProxiedStore
) -> None:
    with pytest.raises(OperationalError) as caught, transaction.atomic(proxied.alias):
        proxied.store.set("mine", 1)
        proxied.proxy.fault = fault
    proxied.proxy.fault = None
    assert not isinstance(caught.value, StoreUnavailableError)
    assert len(proxied.rows()) == (0 if fault is Fault.BEFORE else 1)
    proxied.store.set("again", 1)
    assert proxied.store.get("again") == 1


def test_a_listing_that_is_cut_off_has_yielded_its_first_page(proxied: ProxiedStore) -> None:
    fill(proxied)
    listed = []
    with pytest.raises(StoreUnavailableError), cut(proxied, Fault.BETWEEN, 1):
        for key in proxied.store.keys():  # noqa: SIM118
            listed.append(key)  # noqa: PERF402
    assert len(listed) == 2
    assert len(list(proxied.store.keys())) == 2 + len(MANY)
