"""A job lock: one at a time, whoever is killed, and a number that tells who came later."""

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
from tests.recipes.asking import EIGHT, child, killed
from tests.recipes.conftest import Passes

LEASE = timedelta(minutes=1)
TURNS = 6


def take_turns(i: int) -> None:
    """Read, compute and write without any atomic call, under the lock alone."""
    done = 0
    while done < TURNS:
        try:
            with job_lock(persist, "job", LEASE) as lock:
                persist.set("numbers", [*persist.get("numbers"), lock.number])
        except LockTakenError:
            time.sleep(0.002)
            continue
        done += 1


def test_eight_processes_have_the_lock_in_turn_and_the_numbers_go_up(shared_store: Store) -> None:
    shared_store.set("numbers", [])
    race(take_turns, processes=EIGHT)
    numbers = shared_store.get("numbers")
    assert len(numbers) == EIGHT * TURNS
    assert numbers == sorted(set(numbers))
    assert OWNER(name="job") not in shared_store


def test_it_is_taken_until_it_is_given_back(store: Store) -> None:
    with job_lock(store, "job", LEASE) as lock:
        assert lock.number == 1
        assert store.get(OWNER(name="job")) == lock.owner
        assert str(os.getpid()) in lock.owner
        with pytest.raises(LockTakenError), job_lock(store, "job", LEASE):
            pytest.fail("two have it")
        with job_lock(store, "other", LEASE) as other:
            assert other.number == 1
    with job_lock(store, "job", LEASE) as lock:
        assert lock.number == 2


def test_an_error_gives_it_back(store: Store) -> None:
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
def test_a_killed_owner_has_it_until_the_lease_ends(
    shared_store: Store, passes: Passes, function: Callable[[Connection], None]
) -> None:
    with child(function) as (process, line):
        first = line.recv()
        killed(process)
    passes(50)
    with pytest.raises(LockTakenError), job_lock(shared_store, "job", LEASE):
        pass
    passes(11)
    with job_lock(shared_store, "job", LEASE) as lock:
        assert lock.number > first


def test_a_renewed_lease_goes_on(store: Store, passes: Passes) -> None:
    with job_lock(store, "job", LEASE) as lock:
        for _ in range(3):
            passes(50)
            lock.renew()
        with pytest.raises(LockTakenError), job_lock(store, "job", LEASE):
            pass


@pytest.mark.parametrize("taken", [False, True])
def test_who_is_late_is_told_and_takes_nothing_from_the_next(
    store: Store, passes: Passes, taken: bool
) -> None:
    with ExitStack() as others:
        with pytest.raises(LockLostError), job_lock(store, "job", LEASE) as late:
            passes(61)
            owner = others.enter_context(job_lock(store, "job", LEASE)).owner if taken else None
            with pytest.raises(LockLostError):
                late.renew()
            assert store.get(OWNER(name="job")) == owner
        assert store.get(OWNER(name="job")) == owner


def test_who_is_late_and_fails_tells_of_the_failure(store: Store, passes: Passes) -> None:
    with pytest.raises(ZeroDivisionError), job_lock(store, "job", LEASE):
        passes(61)
        raise ZeroDivisionError


@dataclass
class Report:
    number: int
    text: str


class StaleError(Exception):
    """Someone who had the lock later has written already."""


def write(text: str, number: int) -> None:
    """Write, unless who had the lock later has written: what makes use of the fencing number."""

    def newer(old: Report) -> Report:
        if old.number > number:
            raise StaleError
        return Report(number, text)

    persist.update("report", newer, Report(0, ""), as_=Report)


def write_late(line: Connection) -> None:
    told: list[Any] = []
    try:
        with job_lock(persist, "job", LEASE) as lock:
            line.send(lock.number)
            line.recv()  # Paused here, and it can't know for how long.
            try:
                write("of the first", lock.number)
            except StaleError:
                told.append("refused")
    except LockLostError:
        told.append("lost")
    line.send(told)


def test_a_paused_owner_runs_on_past_its_lease_and_only_its_number_stops_it(
    shared_store: Store, passes: Passes
) -> None:
    with child(write_late) as (process, line):
        first = line.recv()
        os.kill(process.pid, signal.SIGSTOP)
        line.send("go on")
        passes(61)
        with job_lock(shared_store, "job", LEASE) as lock:
            assert lock.number > first
            write("of the second", lock.number)
            os.kill(process.pid, signal.SIGCONT)
            assert line.recv() == ["refused", "lost"]
    assert shared_store.get("report", as_=Report) == Report(lock.number, "of the second")


def test_a_rollback_takes_back_a_lock_that_was_taken_inside(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        with job_lock(database_store, "job", LEASE):
            pass
        raise ZeroDivisionError
    assert database_store.count("lock:") == 0


def test_the_page_runs_the_job_once_at_a_time(
    store: Store, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "JOB_SECONDS", 0)
    assert 'run number <strong id="job-number">1</strong>' in client.post("/job").text
    with job_lock(store, page.JOB, LEASE):
        response = client.post("/job")
        assert response.status_code == 409
        assert "is being made already" in response.text
    assert 'run number <strong id="job-number">3</strong>' in client.post("/job").text
