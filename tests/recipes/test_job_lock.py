"""The job lock recipe: one owner at a time, also after a kill, with increasing numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import pytest
from django.db import transaction
from django.test import Client

from django_persist import Store, persist
from testproject.site import page
from testproject.site.recipes.job_lock import OWNER, LockLostError, LockTakenError, job_lock
from tests.processes import race
from tests.recipes.conftest import Advance
from tests.recipes.helpers import EIGHT, child, kill

LEASE = timedelta(minutes=1)
TURNS = 6


def take_turns(i: int) -> None:
    """Read, compute and write without atomic calls, protected only by the lock."""
    done = 0
    while done < TURNS:
        try:
            with job_lock(persist, "job", LEASE) as lock:
                persist.set("numbers", [*persist.get("numbers"), lock.number])
        except LockTakenError:
            time.sleep(0.002)
            continue
        done += 1


def test_eight_processes_take_turns_and_the_numbers_increase(shared_store: Store) -> None:
    shared_store.set("numbers", [])
    race(take_turns, processes=EIGHT)
    numbers = shared_store.get("numbers")
    assert len(numbers) == EIGHT * TURNS
    assert numbers == sorted(set(numbers))
    assert OWNER(name="job") not in shared_store


def test_the_lock_is_taken_until_it_is_released(store: Store) -> None:
    with job_lock(store, "job", LEASE) as lock:
        assert lock.number == 1
        assert store.get(OWNER(name="job")) == lock.owner
        assert str(os.getpid()) in lock.owner
        with pytest.raises(LockTakenError), job_lock(store, "job", LEASE):
            pytest.fail("two owners at once")
        with job_lock(store, "other", LEASE) as other:
            assert other.number == 1
    with job_lock(store, "job", LEASE) as lock:
        assert lock.number == 2


def test_an_error_releases_the_lock(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), job_lock(store, "job", LEASE):
        raise ZeroDivisionError
    with job_lock(store, "job", LEASE):
        pass


def hold(line: Connection) -> None:
    with job_lock(persist, "job", LEASE) as lock:
        line.send(lock.number)
        line.recv()


def hold_and_die_at_once(line: Connection) -> None:
    def dying(*args: Any, **kwargs: Any) -> int:
        line.send(0)
        return int(line.recv())

    with mock.patch.object(Store, "incr", dying):
        hold(line)


@pytest.mark.parametrize("function", [hold, hold_and_die_at_once])
def test_a_killed_owner_keeps_the_lock_until_its_lease_ends(
    shared_store: Store, advance: Advance, function: Callable[[Connection], None]
) -> None:
    with child(function) as (process, line):
        first = line.recv()
        kill(process)
    advance(50)
    with pytest.raises(LockTakenError), job_lock(shared_store, "job", LEASE):
        pass
    advance(11)
    with job_lock(shared_store, "job", LEASE) as lock:
        assert lock.number > first


def test_a_renewed_lease_continues(store: Store, advance: Advance) -> None:
    with job_lock(store, "job", LEASE) as lock:
        for _ in range(3):
            advance(50)
            lock.renew()
        with pytest.raises(LockTakenError), job_lock(store, "job", LEASE):
            pass


@pytest.mark.parametrize("taken", [False, True])
def test_a_late_owner_gets_an_error_and_leaves_the_next_one_alone(
    store: Store, advance: Advance, taken: bool
) -> None:
    with ExitStack() as others:
        with pytest.raises(LockLostError), job_lock(store, "job", LEASE) as late:
            advance(61)
            owner = others.enter_context(job_lock(store, "job", LEASE)).owner if taken else None
            with pytest.raises(LockLostError):
                late.renew()
            assert store.get(OWNER(name="job")) == owner
        assert store.get(OWNER(name="job")) == owner


def test_a_late_owner_that_fails_raises_its_own_error(store: Store, advance: Advance) -> None:
    with pytest.raises(ZeroDivisionError), job_lock(store, "job", LEASE):
        advance(61)
        raise ZeroDivisionError


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
        with job_lock(persist, "job", LEASE) as lock:
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
        with job_lock(shared_store, "job", LEASE) as lock:
            assert lock.number > first
            write("second", lock.number)
            os.kill(process.pid, signal.SIGCONT)
            assert line.recv() == ["stale", "lost"]
    assert shared_store.get("report", as_=Report) == Report(lock.number, "second")


def test_a_rollback_removes_a_lock_taken_inside_the_transaction(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        with job_lock(database_store, "job", LEASE):
            pass
        raise ZeroDivisionError
    assert database_store.count("lock:") == 0


def test_the_page_runs_one_job_at_a_time(
    store: Store, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    assert 'run number <strong id="job-number">1</strong>' in client.post("/job").text
    with job_lock(store, page.JOB, LEASE):
        response = client.post("/job")
        assert response.status_code == 409
        assert "is already making the report" in response.text
    assert 'run number <strong id="job-number">3</strong>' in client.post("/job").text
