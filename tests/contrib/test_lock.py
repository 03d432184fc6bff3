"""Lock and Slots: one owner or N at a time, also after kills, pauses, faults and interruptions."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from django_persist import Store, persist
from django_persist.backoff import polls
from django_persist.contrib.lock import Lease, Lock, LockLostError, LockTakenError, Slots
from django_persist.exceptions import InvalidExpiryError, InvalidKeyError, StoreUnavailableError
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver
from testproject.site import page
from tests.conftest import BACKENDS, DATABASES
from tests.contrib.conftest import Advance, Serve
from tests.extent import LONG
from tests.interruptions.alarms import INTERRUPTED, alarms, at_random
from tests.interruptions.moments import each_moment
from tests.processes import race
from tests.recipes.helpers import EIGHT, child, in_threads, kill
from tests.servers import Server
from tests.servers.proxy import Fault, Proxy

LEASE = timedelta(minutes=1)
TURNS = 60 if LONG else 5
KEY = "lock:job"

JOB = Lock(persist, "job", lease=LEASE)
PATIENT = Lock(persist, "job", lease=LEASE, wait=60)
GPUS = Slots(persist, "gpu", 4, lease=LEASE)


# One owner.


def take_turns(i: int) -> None:
    """Read, compute and write without atomic calls, protected only by the lock."""
    for _ in range(TURNS):
        with PATIENT.acquire() as lock:
            persist.set("numbers", [*persist.get("numbers"), lock.number])


def test_eight_processes_take_turns_and_the_numbers_increase(shared_store: Store) -> None:
    shared_store.set("numbers", [])
    race(take_turns, processes=EIGHT)
    numbers = shared_store.get("numbers")
    assert len(numbers) == EIGHT * TURNS
    assert numbers == sorted(set(numbers))
    assert KEY not in shared_store


def take_turns_in_a_thread(i: int, store: Store) -> None:
    for _ in range(20):
        with PATIENT.acquire() as lock, Lock(store, f"own {i}") as own:
            store.set("numbers", [*store.get("numbers"), lock.number])
            assert store.get("lock:job") == lock.token != own.token


def test_threads_share_one_lock_object(open_store: Any) -> None:
    store = open_store("memory")
    store.set("numbers", [])
    in_threads(take_turns_in_a_thread, store)
    numbers = store.get("numbers")
    assert len(numbers) == EIGHT * 20
    assert numbers == sorted(set(numbers))
    assert store.count("lock:") == 1 + EIGHT  # The numbers stay.


def test_the_lock_is_taken_until_it_is_released(store: Store) -> None:
    with JOB.acquire() as lock:
        assert lock.number == 1
        assert JOB.owners() == [lock.owner]
        assert lock.owner.endswith(f" {os.getpid()}")
        assert lock.token not in repr((lock, JOB))
        with pytest.raises(LockTakenError, match="'job'") as caught, JOB.acquire():
            pytest.fail("two owners at once")
        assert lock.token not in str(caught.value)
        with Lock(store, "other") as other:
            assert other.number == 1
    assert JOB.owners() == []
    with JOB.acquire() as lock:
        assert lock.number == 2


def test_the_number_increases_whatever_became_of_the_earlier_owners(
    store: Store, advance: Advance
) -> None:
    numbers = []
    with JOB.acquire() as lock:  # released
        numbers.append(lock.number)
    numbers.append(JOB.acquire().number)  # expired
    advance(61)
    lock = JOB.acquire()
    numbers += [lock.number, JOB.adopt(lock.token).number]  # handed over
    store.remove(KEY)  # taken away, in the admin
    numbers.append(JOB.acquire().number)
    advance(61)
    store.purge()
    numbers.append(JOB.acquire().number)
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_a_lock_serves_one_with_and_any_number_of_acquires(store: Store) -> None:
    lock = Lock(store, "job")
    with lock as lease:
        assert store.get(KEY) == lease.token
    assert KEY not in store
    with pytest.raises(RuntimeError, match=r"lock\.acquire\(\)"), lock:
        pass
    for _ in range(2):
        with lock.acquire() as lease:
            assert store.get(KEY) == lease.token
    slots = Slots(store, "gpu", 2)
    with slots as first, pytest.raises(RuntimeError), slots:
        pass
    with slots.acquire() as first, slots.acquire() as second:
        assert {first.slot, second.slot} == {0, 1}


def test_an_error_releases_the_lock(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), JOB.acquire():
        raise ZeroDivisionError
    with JOB.acquire():
        pass


def test_a_lock_that_is_released_in_the_block_is_left_alone_at_its_end(store: Store) -> None:
    with JOB.acquire() as lock:
        lock.release()
        other = JOB.acquire()
        with pytest.raises(LockLostError):
            lock.release()
    assert store.get(KEY) == other.token


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (InvalidExpiryError, {"lease": 0}),
        (TypeError, {"lease": None}),
        (TypeError, {"lease": datetime(2100, 1, 1, tzinfo=UTC)}),
        (ValueError, {"wait": -1}),
        (ValueError, {"wait": float("inf")}),
        (ValueError, {"wait": float("nan")}),
        (InvalidKeyError, {"name": "a" * 250}),
        (TypeError, {"name": 1.5}),
    ],
)
def test_invalid_arguments_are_refused_at_once(
    error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        Lock(persist, **{"name": "job", **arguments})
    with pytest.raises(error):
        Slots(persist, **{"name": "job", "count": 2, **arguments})


@pytest.mark.parametrize("count", [0, -1, True, 1.5])
def test_slots_need_a_positive_count(count: Any) -> None:
    with pytest.raises(ValueError, match="count"):
        Slots(persist, "gpu", count)


def test_names_never_meet(open_store: Any) -> None:
    store = open_store("memory")
    for name in ("a", "a:number", "a%3Anumber", 5, "5:0"):
        Lock(store, name).acquire()
        Slots(store, name, 1).acquire()
    assert store.count() == 20


# Waiting.


def hold(line: Connection) -> None:
    with JOB.acquire() as lock:
        line.send((lock.number, lock.token))
        line.recv()
    line.send("released")


def test_a_caller_waits_until_another_process_releases(shared_store: Store) -> None:
    with child(hold) as (_, line):
        first, _ = line.recv()
        line.send("release")
        with PATIENT.acquire() as lock:
            assert line.recv() == "released"
            assert lock.number > first


def test_a_caller_waits_no_longer_than_it_wants(store: Store) -> None:
    with JOB.acquire():
        started = time.monotonic()
        with pytest.raises(LockTakenError):
            Lock(store, "job", wait=timedelta(milliseconds=200)).acquire()
        assert 0.2 <= time.monotonic() - started < 10


def test_polls_wait_longer_each_time_and_try_once_more_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, waits = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        waits.append(seconds)

    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(time, "sleep", sleep)
    assert list(polls(0)) == [0]
    assert waits == []
    assert list(polls(5)) == list(range(len(waits) + 1))
    assert clock == pytest.approx(5)
    bounds = [0.02, 0.04, 0.08, 0.16, 0.32, *[0.5] * len(waits)]
    for wait, bound in zip(waits[:-1], bounds, strict=False):
        assert bound / 2 <= wait <= bound
    assert len(set(waits)) == len(waits), "there is no jitter"
    assert len(waits) < 30


def test_a_waiting_caller_does_not_write(database_store: Store) -> None:
    with JOB.acquire(), mock.patch.object(type(database_store.driver), "create") as create:
        create.return_value = False
        with pytest.raises(LockTakenError):
            Lock(database_store, "job", wait=0.3).acquire()
        assert create.call_count == 1


# Leases.


def hold_without_number(line: Connection) -> None:
    """Be killed between the two steps in which a lock is taken."""

    def dying(*args: Any, **kwargs: Any) -> int:
        line.send((0, ""))
        return int(line.recv())

    with mock.patch.object(Store, "incr", dying):
        hold(line)


@pytest.mark.parametrize("function", [hold, hold_without_number])
def test_a_killed_owner_keeps_the_lock_until_its_lease_ends(
    shared_store: Store, advance: Advance, function: Callable[[Connection], None]
) -> None:
    with child(function) as (process, line):
        first, _ = line.recv()
        kill(process)
    advance(50)
    with pytest.raises(LockTakenError), JOB.acquire():
        pass
    advance(11)
    with JOB.acquire() as lock:
        assert lock.number > first


def test_a_renewed_lease_continues(store: Store, advance: Advance) -> None:
    with JOB.acquire() as lock:
        for _ in range(3):
            advance(50)
            lock.renew()
        with pytest.raises(LockTakenError), JOB.acquire():
            pass


@pytest.mark.parametrize("taken", [False, True])
def test_a_late_owner_gets_an_error_and_leaves_the_next_one_alone(
    store: Store, advance: Advance, taken: bool
) -> None:
    with ExitStack() as others:
        with pytest.raises(LockLostError), JOB.acquire() as late:
            advance(61)
            token = others.enter_context(JOB.acquire()).token if taken else None
            with pytest.raises(LockLostError):
                late.renew()
            assert store.get(KEY) == token
        assert store.get(KEY) == token


def test_a_late_owner_that_fails_raises_its_own_error(store: Store, advance: Advance) -> None:
    with pytest.raises(ZeroDivisionError), JOB.acquire():
        advance(61)
        raise ZeroDivisionError


def test_an_error_inside_a_transaction_is_raised(database_store: Store) -> None:
    """The transaction began in the block, so the lock can't be released there."""
    using = database_store.driver.using  # type: ignore[attr-defined]
    transactions = ExitStack()
    with transactions, pytest.raises(ZeroDivisionError), Lock(database_store, "a"):
        transactions.enter_context(transaction.atomic(using))
        raise ZeroDivisionError


@pytest.mark.parametrize("taken", [False, True])
def test_a_caller_that_is_paused_while_it_takes_the_lock_does_not_have_it(
    store: Store, advance: Advance, taken: bool
) -> None:
    draw, others = Store.incr, list[Lease]()

    def late(self: Store, *args: Any, **kwargs: Any) -> int:
        advance(61)
        if taken:
            with mock.patch.object(Store, "incr", draw):
                others.append(JOB.acquire())
        return draw(self, *args, **kwargs)

    with mock.patch.object(Store, "incr", late), pytest.raises(LockLostError):
        JOB.acquire()
    assert JOB.owners() == [other.owner for other in others]
    for other in others:
        other.release()
    with JOB.acquire() as lock:
        assert lock.number == 2 + taken


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("server", [*DATABASES, "memory"])
def test_a_clock_that_is_moved_never_makes_two_owners_with_one_number(
    open_store: Any, server: str, hours: int
) -> None:
    open_store(server)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC)) as clock:
        first = JOB.acquire()
        clock.shift(timedelta(hours=hours))
        if hours < 0:  # The lease lasts longer.
            with pytest.raises(LockTakenError):
                JOB.acquire()
            clock.shift(timedelta(hours=1, minutes=2))
        second = JOB.acquire()
        clock.shift(timedelta(seconds=-30))
        assert second.number > first.number
        with pytest.raises(LockLostError):
            first.renew()
        second.renew()


@dataclass
class Report:
    number: int
    text: str


class StaleError(Exception):
    """A later owner has already written."""


def write(text: str, number: int) -> None:
    """Write unless a later owner has written: compare the fencing numbers."""

    def newer(old: Report) -> Report:
        if old.number > number:
            raise StaleError
        return Report(number, text)

    persist.update("report", newer, Report(0, ""), as_=Report)


def write_late(line: Connection) -> None:
    errors: list[str] = []
    try:
        with JOB.acquire() as lock:
            line.send(lock.number)
            line.recv()  # The process is paused here, and can't know for how long.
            try:
                write("first", lock.number)
            except StaleError:
                errors.append("stale")
    except LockLostError:
        errors.append("lost")
    line.send(errors)


def test_a_paused_owner_continues_after_its_lease_and_only_its_number_stops_it(
    shared_store: Store, advance: Advance
) -> None:
    with child(write_late) as (process, line):
        first = line.recv()
        os.kill(process.pid, signal.SIGSTOP)
        line.send("continue")
        advance(61)
        with JOB.acquire() as lock:
            assert lock.number > first
            write("second", lock.number)
            os.kill(process.pid, signal.SIGCONT)
            assert line.recv() == ["stale", "lost"]
    assert shared_store.get("report", as_=Report) == Report(lock.number, "second")


# Handing over.


def work_for(line: Connection, token: str) -> None:
    with JOB.adopt(token) as lock:
        line.send((lock.number, lock.token))
        line.recv()
    line.send("released")


def test_another_process_adopts_the_lock(shared_store: Store) -> None:
    with JOB.acquire() as mine:
        mine.hand_over()
    assert JOB.owners() == [mine.owner]
    with child(work_for, mine.token) as (_, line):
        number, token = line.recv()
        assert number == mine.number + 1
        assert shared_store.get(KEY) == token != mine.token
        for call in (mine.renew, mine.release, lambda: JOB.adopt(mine.token)):
            with pytest.raises(LockLostError):
                call()
        with pytest.raises(LockTakenError):
            JOB.acquire()
        line.send("release")
        assert line.recv() == "released"
    assert KEY not in shared_store


def adopt(i: int, token: str) -> int:
    try:
        return JOB.adopt(token).number
    except LockLostError:
        return 0


def test_of_eight_processes_with_one_token_one_adopts(shared_store: Store) -> None:
    for turn in range(5):
        lock = JOB.acquire()
        numbers = race(adopt, lock.token, processes=EIGHT)
        assert sorted(numbers) == [0] * 7 + [2 + 2 * turn]
        shared_store.remove(KEY)


def test_what_was_not_handed_over_is_released(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), JOB.acquire() as lock:
        raise ZeroDivisionError  # The task queue is down.
    with pytest.raises(LockLostError):
        JOB.adopt(lock.token)


def test_adopting_restarts_the_lease_but_not_after_its_end(store: Store, advance: Advance) -> None:
    token = JOB.acquire().token
    advance(50)
    adopted = JOB.adopt(token)
    for invented in ("", "é", "\ud800", token):
        with pytest.raises(LockLostError):
            JOB.adopt(invented)
    advance(50)
    adopted.renew()
    advance(61)
    with pytest.raises(LockLostError):
        JOB.adopt(adopted.token)


# Slots.


def use_slots(i: int, count: int) -> int:
    """Take slots; note which are in use, and fail if one is used twice. Return the uses."""
    slots = Slots(persist, "gpu", count, lease=LEASE, wait=60)
    for _ in range(TURNS):
        with slots.acquire() as gpu:
            users = persist.incr("users")
            assert users <= count
            persist.create(f"in use:{gpu.slot}", gpu.number)
            last = persist.get(f"last:{gpu.slot}", 0)
            assert last < gpu.number
            persist.set(f"last:{gpu.slot}", gpu.number)
            assert persist.remove(f"in use:{gpu.slot}")
            persist.incr("users", -1)
    return TURNS


@pytest.mark.parametrize("count", [1, 3])
def test_eight_processes_share_the_slots(shared_store: Store, count: int) -> None:
    assert sum(race(use_slots, count, processes=EIGHT)) == EIGHT * TURNS
    assert shared_store.get("slots:gpu:number") == EIGHT * TURNS
    assert sorted(shared_store.keys("last:")) == [f"last:{slot}" for slot in range(count)]
    assert shared_store.count("slots:") == 1


def hold_slot(line: Connection) -> None:
    with GPUS.acquire() as gpu:
        line.send(gpu.slot)
        line.recv()


def test_the_slot_of_a_killed_owner_comes_back(shared_store: Store, advance: Advance) -> None:
    with child(hold_slot) as (process, line):
        dead = line.recv()
        advance(30)
        held = [GPUS.acquire() for _ in range(3)]
        assert {dead, *(gpu.slot for gpu in held)} == {0, 1, 2, 3}
        with pytest.raises(LockTakenError):
            GPUS.acquire()
        kill(process)
    with pytest.raises(LockTakenError):
        GPUS.acquire()
    advance(31)
    assert GPUS.acquire().slot == dead
    assert len(GPUS.owners()) == 4
    held[1].release()
    assert GPUS.acquire().slot == held[1].slot
    adopted = GPUS.adopt(held[2].token)
    assert adopted.slot == held[2].slot
    assert adopted.number == 7


# Faults.


def test_a_lock_outlives_its_server(killable: tuple[Server, Store]) -> None:
    server, store = killable
    with JOB.acquire() as lock:
        for end in (server.kill, server.stop):
            end()
            with pytest.raises(StoreUnavailableError):
                lock.renew()
            with pytest.raises(StoreUnavailableError):
                Lock(store, "other").acquire()
            server.start()
            lock.renew()
            with pytest.raises(LockTakenError):
                JOB.acquire()
    with JOB.acquire() as after:
        assert after.number == lock.number + 1


def test_the_error_of_the_block_is_raised_if_the_server_is_gone(
    killable: tuple[Server, Store],
) -> None:
    server, _ = killable
    with pytest.raises(ZeroDivisionError), JOB.acquire():
        server.kill()
        raise ZeroDivisionError
    server.start()
    with pytest.raises(StoreUnavailableError), Lock(persist, "other"):
        server.kill()


CUTS = [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN]
STEPS = 5
"""More than a call takes."""


def assert_left_is_only_a_lease(advance: Advance, lost: list[int]) -> None:
    """Assert that nothing worse than a lease is left, and that the number still increases."""
    advance(61)
    with JOB.acquire() as lock:
        assert lock.number > max(lost, default=0)
        lost.append(lock.number)


@pytest.mark.parametrize("fault", CUTS)
def test_a_connection_that_is_cut_at_any_step_of_acquire(
    proxy: Proxy, advance: Advance, fault: Fault
) -> None:
    failed, numbers = [], list[int]()
    for step in range(STEPS):
        persist.count()  # It connects.
        proxy.strike(fault, step)
        try:
            lock = JOB.acquire()
        except StoreUnavailableError:
            failed.append(step)
        else:
            proxy.calm()
            lock.renew()
            numbers.append(lock.number)
            lock.release()
        assert_left_is_only_a_lease(advance, numbers)
    assert numbers == sorted(set(numbers))
    # The first thing sent is the create. Where only its reply was lost, the lock is ours.
    first = 0 if fault is Fault.BEFORE else 1
    assert failed == list(range(first, len(failed) + first))
    assert 1 < len(failed) < STEPS


@pytest.mark.parametrize("fault", CUTS)
@pytest.mark.parametrize("call", [Lease.renew, Lease.release])
def test_a_connection_that_is_cut_at_any_step_of_renew_or_release(
    proxy: Proxy, advance: Advance, fault: Fault, call: Callable[[Lease], None]
) -> None:
    failed, numbers = [], list[int]()
    for step in range(STEPS):
        lock = JOB.acquire()
        advance(30)
        proxy.strike(fault, step)
        try:
            call(lock)
        except StoreUnavailableError:
            failed.append(step)
        else:
            proxy.calm()
            advance(45)
            assert JOB.owners() == ([] if call is Lease.release else [lock.owner])
        assert_left_is_only_a_lease(advance, numbers)
    # A read, then the write. If the write may have been applied, both are sent again.
    assert failed == [0] if fault is not Fault.BEFORE else failed


@pytest.mark.parametrize("owner", ["ours", "another's", "nobody's"])
@pytest.mark.parametrize("call", ["acquire", "adopt"])
def test_what_may_have_been_applied_is_looked_at(store: Store, call: str, owner: str) -> None:
    error = StoreUnavailableError("cut off", maybe_applied=True)
    token = JOB.acquire().token
    if call == "acquire":
        store.remove(KEY)
    name = "create" if call == "acquire" else "replace"
    real = getattr(store.driver, name)

    def cut(*args: Any, **kwargs: Any) -> None:
        if owner == "ours":
            assert real(*args, **kwargs)
        elif owner == "another's":
            store.set(KEY, "another's")
        raise error

    with mock.patch.object(store.driver, name, cut):
        take = JOB.acquire if call == "acquire" else lambda: JOB.adopt(token)
        if owner == "ours":
            lock = take()
        else:
            with pytest.raises(StoreUnavailableError) as caught:
                take()
            assert caught.value is error
    if owner == "ours":
        lock.renew()
        lock.release()
        assert KEY not in store
    elif owner == "another's":
        assert store.get(KEY) == "another's"


# Interruptions.

FILES = ("django_persist/contrib/lock.py", "django_persist/store.py", "django_persist/memory.py")


def use(store: Store) -> None:
    lock = Lock(store, "job", lease=LEASE)
    with lock.acquire() as mine:
        mine.renew()
        mine.hand_over()
    lock.adopt(mine.token).release()


def test_interrupted_at_any_moment_it_leaves_nothing_worse_than_a_lease() -> None:
    stores: list[Store] = []
    left = moments = 0

    def make_call() -> Callable[[], object]:
        stores.append(Store(OwnMemoryDriver(Memory())))
        return lambda: use(stores[-1])

    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        for _ in each_moment(make_call, FILES):
            moments += 1
            store, start = stores[-1], datetime.now(UTC)
            lock = Lock(store, "job", lease=LEASE)
            drawn = store.get("lock:job:number", 0)
            left += KEY in store
            if KEY in store:
                clock.shift(LEASE)
            with lock.acquire() as mine:
                assert mine.number > drawn
            clock.move_to(start)
    assert moments > 100
    # Only once it is ours and nobody has the Lease, or has taken over, it can't be released.
    assert left < moments / 2


def test_an_interruption_never_releases_the_lock_of_another() -> None:
    stores: list[Store] = []

    def make_call() -> Callable[[], object]:
        store = Store(OwnMemoryDriver(Memory()))
        stores.append(store)
        late = Lock(store, "job", lease=LEASE).acquire()
        store.set(KEY, "another's")

        def call() -> None:
            for each in (late.renew, late.release, lambda: Lock(store, "job").adopt(late.token)):
                with suppress(LockLostError):
                    each()
            with suppress(LockTakenError):
                Lock(store, "job").acquire()

        return call

    moments = 0
    for _ in each_moment(make_call, FILES):
        moments += 1
        assert stores[-1].get(KEY) == "another's"
    assert moments > 50


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_by_alarms_it_leaves_nothing_worse_than_a_lease(
    store: Store, advance: Advance
) -> None:
    use(store)
    started = time.perf_counter()
    use(store)
    typical = time.perf_counter() - started
    interruptions, numbers = 0, list[int]()
    with alarms() as interrupted:
        for _ in range(2_000 if LONG else 60):
            interruptions += interrupted(lambda: use(store), at_random(typical)) is INTERRUPTED
            if KEY in store:
                item = store.get_item(KEY)
                assert (
                    item is not None
                    and item.ttl is not None
                    and item.ttl <= LEASE + timedelta(seconds=1)
                )
                if random.random() < 0.5:  # Taken away, or left until the lease ends.
                    store.remove(KEY)
            assert_left_is_only_a_lease(advance, numbers)
    assert interruptions
    assert numbers == sorted(set(numbers))


# Transactions.


def in_view(request: Any) -> HttpResponse:
    with JOB.acquire() as lock:
        return HttpResponse(str(lock.number))


@transaction.non_atomic_requests
def in_free_view(request: Any) -> HttpResponse:
    return in_view(request)


@pytest.mark.parametrize("call", ["acquire", "adopt", "renew", "release"])
def test_a_transaction_on_the_same_database_is_refused(database_store: Store, call: str) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    lock = JOB.acquire()
    calls: dict[str, Callable[[], object]] = {
        "acquire": Lock(persist, "other").acquire,
        "adopt": lambda: JOB.adopt(lock.token),
        "renew": lock.renew,
        "release": lock.release,
    }
    before = dict(database_store.items())
    with (
        pytest.raises(ImproperlyConfigured, match="non_atomic_requests"),
        transaction.atomic(using),
    ):
        calls[call]()
    assert dict(database_store.items()) == before
    transaction.set_autocommit(False, using)
    try:
        with pytest.raises(ImproperlyConfigured):
            calls[call]()
    finally:
        transaction.set_autocommit(True, using)
    calls[call]()


@pytest.mark.parametrize("server", ["memory", "valkey"])
def test_a_transaction_elsewhere_does_not_matter(open_store: Any, server: str) -> None:
    open_store(server)
    with transaction.atomic(), JOB.acquire() as lock:
        lock.renew()


def test_a_view_under_atomic_requests_is_refused(
    open_store: Any, client: Client, serve: Serve, atomic_requests: Callable[[str], None]
) -> None:
    open_store("sqlite")
    atomic_requests("default")
    serve(in_view, free=in_free_view)
    assert client.get("/free").text == "1"
    with pytest.raises(ImproperlyConfigured):
        client.get("/")
    assert client.get("/free").text == "2"


@pytest.mark.django_db
def test_the_transaction_around_a_test_does_not_count(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["sqlite"]}
    with JOB.acquire() as lock:
        lock.renew()
        with pytest.raises(ImproperlyConfigured), transaction.atomic():
            lock.renew()
    with JOB.adopt(JOB.acquire().token):
        pass


def test_the_page_runs_one_job_at_a_time(
    store: Store, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    assert 'run number <strong id="job-number">1</strong>' in client.post("/job", follow=True).text
    with page.JOB.acquire():
        response = client.post("/job")
        assert response.status_code == 409
        assert "is already making the report" in response.text
    assert 'run number <strong id="job-number">3</strong>' in client.post("/job", follow=True).text
