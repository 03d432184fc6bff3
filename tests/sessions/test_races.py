"""Races between processes for sessions."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from unittest import mock

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted

from django_persist import Store, persist
from django_persist.sessions import SessionStore
from tests.processes import PROCESSES, race

SESSIONS = 25
IDS = [f"{number:032}" for number in range(800)]


def start() -> list[str]:
    """Create sessions; return their ids."""
    ids = []
    for _ in range(SESSIONS):
        session = SessionStore()
        session["by"] = -1
        session.save()
        assert session.session_key is not None
        ids.append(session.session_key)
    return ids


def log_out_or_save(i: int, ids: list[str], every_request: bool) -> int:
    """Log out in process 0, while the other processes save; return how many saves failed."""
    failed = 0
    for session_id in ids:
        session = SessionStore(session_id)
        assert session["by"] in range(-1, PROCESSES)
        in_flight = f"in flight:{session_id}"
        if i == 0:
            while persist.get(in_flight) != PROCESSES - 1:
                time.sleep(0.001)
            session.flush()
            continue
        persist.incr(in_flight)
        try:
            for _ in range(2000):
                if not every_request:
                    session["by"] = i
                session.save()
                # Without a pause, one writer of SQLite would starve the others.
                time.sleep(random.uniform(0, 0.002))
        except UpdateError:
            failed += 1
    return failed


@pytest.mark.parametrize("every_request", [False, True])
def test_session_stays_logged_out(shared_store: Store, every_request: bool) -> None:
    ids = start()
    failed = race(log_out_or_save, ids, every_request)
    assert shared_store.count("sessions:") == sum(map(SessionStore().exists, ids)) == 0
    assert sum(failed) > 0


def cycle_or_log_out(i: int, ids: list[str]) -> list[str | None]:
    """Log out in process 0, change the id in the others; return the new id of each session."""
    new_ids: list[str | None] = []
    for session_id in ids:
        session = SessionStore(session_id)
        if session.get("by") is None:
            new_ids.append(None)
            continue
        if i == 0:
            session.flush()
            new_ids.append(None)
            continue
        try:
            session.cycle_key()
        except SessionInterrupted:
            new_ids.append(None)
        else:
            new_ids.append(session.session_key)
    return new_ids


def test_id_is_changed_once(shared_store: Store) -> None:
    ids = start()
    new_ids = [new_id for results in race(cycle_or_log_out, ids) for new_id in results]
    live = [session_id for session_id in new_ids if session_id is not None]
    assert len(live) <= SESSIONS
    assert shared_store.count("sessions:") == sum(map(SessionStore().exists, live)) == len(live)


def create(i: int) -> list[str | None]:
    """Create sessions with ids drawn from a small set; return the ids."""
    ids = []
    draw = partial(random.choice, IDS)
    with mock.patch.object(SessionStore, "_get_new_session_key", staticmethod(draw)):
        for _ in range(SESSIONS):
            session = SessionStore()
            session["by"] = i
            session.save()
            ids.append(session.session_key)
    return ids


def test_processes_never_share_an_id(shared_store: Store) -> None:
    created = race(create)
    assert set(Counter(session_id for ids in created for session_id in ids).values()) == {1}
    for i, ids in enumerate(created):
        assert [SessionStore(session_id)["by"] for session_id in ids] == [i] * SESSIONS
    assert shared_store.count("sessions:") == PROCESSES * SESSIONS
