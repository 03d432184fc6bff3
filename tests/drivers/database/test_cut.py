"""Lines that are cut at every point of a call: told what became of it, and nothing sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import pytest
from django.db import OperationalError, connections, transaction

from django_persist import KEEP, REMOVE, Store
from django_persist.exceptions import StoreUnavailableError
from tests.conftest import leave_expired
from tests.drivers.database.conftest import Line
from tests.servers.proxy import Fault

CUTS = pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN])
MANY = [f"many:{i}" for i in range(5)]


class Call(NamedTuple):
    """A call whose line is cut once that many of its statements are done."""

    call: Callable[[Store], Any]
    done: int = 0
    doubtful: bool = False
    """Whether what comes next may take effect without a reply that says so."""


def set_many(store: Store) -> None:
    store.set_many(dict.fromkeys(MANY, 2))


def create_many(store: Store) -> None:
    store.driver.create_many([(key, b"1", None) for key in ("key", "new")])


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
    "pop, removing": Call(lambda store: store.pop("key"), 1, True),
    "update, creating": Call(lambda store: store.update("new", lambda n: n + 1, 1), 1, True),
    "update, replacing": Call(update, 1, True),
    "update, removing": Call(lambda store: store.update("key", lambda _: REMOVE), 1, True),
    "get_or_create, creating": Call(lambda store: store.get_or_create("new", 1), 1, True),
    "set_many": Call(lambda store: store.set_many({"key": 2, "new": 2}), 0, True),
    "remove_many": Call(lambda store: store.remove_many(["key", "many:1"]), 0, True),
    "clear, removing": Call(lambda store: store.clear(), 1, True),
    # Of a transaction nothing stands before its COMMIT is sent.
    "set_many, first chunk": Call(set_many, 0, False),
    "set_many, third chunk": Call(set_many, 2, False),
    "set_many, at COMMIT": Call(set_many, 3, True),
    "remove_many, third chunk": Call(remove_many, 2, False),
    "remove_many, at COMMIT": Call(remove_many, 3, True),
    "create_many, before its COMMIT": Call(create_many, 0, False),
    "purge": Call(purge, 0, False),
}
COMMIT = {"postgresql": 1, "mariadb": 3}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_persist.keyspace.CHUNK", 2)
    monkeypatch.setattr("django_persist.drivers.database.statements.rows.CHUNK_KEYS", 2)
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_KEYS", 2)
    monkeypatch.setattr("django_persist.drivers.database.driver.PAGE_ITEMS", 2)


@contextmanager
def once_done(using: str, done: int, happens: Callable[[], Any]) -> Iterator[None]:
    """Have something happen once that many statements are done."""
    left = done

    def count(execute: Any, *args: Any) -> Any:
        nonlocal left
        result = execute(*args)
        left -= 1
        if left == 0:
            happens()
        return result

    if done == 0:
        happens()
    with connections[using].execute_wrapper(count):
        yield


@contextmanager
def cut(line: Line, fault: Fault, done: int) -> Iterator[None]:
    """Have the fault once that many statements are done."""
    line.proxy.requests.clear()
    try:
        with once_done(line.alias, done, lambda: setattr(line.proxy, "fault", fault)):
            yield
    finally:
        line.proxy.fault = None


def fill(line: Line) -> list[Any]:
    """Store what the calls work on; return it as the server has it."""
    leave_expired(line.store, {"expired": 1})
    line.store.set_many({"key": 1, "kept": 1, **dict.fromkeys(MANY, 1)}, expires=600)
    return line.rows()


def assert_told(line: Line, fault: Fault, call: Call) -> None:
    before = fill(line)
    with pytest.raises(StoreUnavailableError) as told, cut(line, fault, call.done):
        call.call(line.store)
    assert isinstance(told.value, OperationalError)
    assert isinstance(told.value.__cause__, Exception)
    assert told.value.maybe_applied is call.doubtful
    assert (line.rows() != before) is (call.doubtful and fault is not Fault.BEFORE)
    line.store.set("again", 1)
    assert line.store.get_many(["again", "none"]) == {"again": 1}


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.WITHIN])
@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_a_read_that_is_cut_has_done_nothing(call: Call, fault: Fault, line: Line) -> None:
    assert_told(line, fault, call)


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.WITHIN])
@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_a_write_that_is_cut_says_whether_it_may_stand(
    call: Call, fault: Fault, line: Line
) -> None:
    assert_told(line, fault, call)


@CUTS
@pytest.mark.parametrize("call", [purge, create_many])
def test_what_is_cut_at_its_commit_says_so(
    call: Callable[[Store], Any], fault: Fault, line: Line
) -> None:
    assert_told(line, fault, Call(call, COMMIT[line.direct], True))


STEPS: dict[str, Call] = {
    "clear, second page": Call(lambda store: store.clear(), 2, True),
    "clear, second chunk": Call(lambda store: store.clear(), 3, True),
    "purge, second batch": Call(lambda store: store.purge(batch_size=1), -1, True),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("call", STEPS.values(), ids=STEPS)
def test_steps_that_were_done_before_the_cut_stand(call: Call, inside: bool, line: Line) -> None:
    leave_expired(line.store, {"first": 1, "second": 1, "third": 1})
    before = fill(line)
    transaction_or_none = transaction.atomic(line.alias) if inside else nullcontext()
    done = COMMIT[line.direct] + 1 if call.done == -1 else call.done
    with (
        pytest.raises(StoreUnavailableError) as told,
        transaction_or_none,
        cut(line, Fault.BEFORE, done),
    ):
        call.call(line.store)
    assert told.value.maybe_applied is not inside
    assert (line.rows() == before) is inside


@CUTS
def test_a_count_whose_line_is_cut_is_sent_once(fault: Fault, line: Line) -> None:
    line.store.set("counter", 0)
    for n in range(5):
        with pytest.raises(StoreUnavailableError), cut(line, fault, 0):
            line.store.incr("counter")
        assert b"".join(line.proxy.requests).count(b"INSERT INTO") == 1
        assert line.store.get("counter") == (0 if fault is Fault.BEFORE else n + 1)


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_inside_a_transaction_nothing_stands(call: Call, line: Line) -> None:
    if call.call in (set_many, remove_many) and call.done == 3:
        call = call._replace(done=2)  # It ends with no COMMIT of its own.
    before = fill(line)
    with pytest.raises(StoreUnavailableError) as told, transaction.atomic(line.alias):
        line.store.set("mine", 1)
        with cut(line, Fault.BETWEEN, call.done):
            call.call(line.store)
    assert told.value.maybe_applied is False
    assert line.rows() == before
    line.store.set("again", 1)
    assert line.store.get("again") == 1


BROKEN = (transaction.TransactionManagementError, StoreUnavailableError)


@CUTS
def test_a_transaction_that_was_cut_can_t_be_gone_on_with(fault: Fault, line: Line) -> None:
    with transaction.atomic(line.alias):
        line.store.set("mine", 1)
        with cut(line, fault, 0), pytest.raises(StoreUnavailableError):
            line.store.set("mine", 2)
        with pytest.raises(BROKEN):
            line.store.set("mine", 3)
    assert line.rows() == []
    line.store.set("again", 1)
    assert line.store.get("again") == 1


@CUTS
def test_a_savepoint_of_a_transaction_that_was_cut_saves_nothing(fault: Fault, line: Line) -> None:
    with pytest.raises(BROKEN), transaction.atomic(line.alias):
        line.store.set("mine", 1)
        with pytest.raises(StoreUnavailableError), transaction.atomic(line.alias):
            line.proxy.fault = fault
            line.store.set("mine", 2)
        line.proxy.fault = None
        line.store.set("mine", 3)
    assert line.rows() == []
    line.store.set("again", 1)
    assert line.store.get("again") == 1


@CUTS
def test_a_caller_s_commit_that_is_cut_is_django_s_to_tell(fault: Fault, line: Line) -> None:
    with pytest.raises(OperationalError) as told, transaction.atomic(line.alias):
        line.store.set("mine", 1)
        line.proxy.fault = fault
    line.proxy.fault = None
    assert not isinstance(told.value, StoreUnavailableError)
    assert len(line.rows()) == (0 if fault is Fault.BEFORE else 1)
    line.store.set("again", 1)
    assert line.store.get("again") == 1


def test_a_listing_that_is_cut_has_listed_what_it_listed(line: Line) -> None:
    fill(line)
    listed = []
    with pytest.raises(StoreUnavailableError), cut(line, Fault.BETWEEN, 1):
        for key in line.store.keys():  # noqa: SIM118
            listed.append(key)  # noqa: PERF402
    assert len(listed) == 2
    assert len(list(line.store.keys())) == 2 + len(MANY)
