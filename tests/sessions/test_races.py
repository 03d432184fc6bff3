"""Processes that race for sessions."""

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
    """Return the ids of new sessions."""
    ids = []
    for _ in range(SESSIONS):
        session = SessionStore()
        session["by"] = -1
        session.save()
        assert session.session_key is not None
        ids.append(session.session_key)
    return ids


def log_out_or_save(i: int, ids: list[str], every_request: bool) -> int:
    """One logs out, the others are in the middle of requests; return how many were told."""
    told = 0
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
                time.sleep(random.uniform(0, 0.002))  # SQLite's one writer would starve the others.
        except UpdateError:
            told += 1
    return told


@pytest.mark.parametrize("every_request", [False, True])
def test_session_stays_logged_out(shared_store: Store, every_request: bool) -> None:
    ids = start()
    told = race(log_out_or_save, ids, every_request)
    assert shared_store.count("sessions:") == sum(map(SessionStore().exists, ids)) == 0
    assert sum(told) > 0


def cycle_or_log_out(i: int, ids: list[str]) -> list[str | None]:
    """One logs out, the others change the id; return what became of each session here."""
    came_to: list[str | None] = []
    for session_id in ids:
        session = SessionStore(session_id)
        if session.get("by") is None:
            came_to.append(None)
            continue
        if i == 0:
            session.flush()
            came_to.append(None)
            continue
        try:
            session.cycle_key()
        except SessionInterrupted:
            came_to.append(None)
        else:
            came_to.append(session.session_key)
    return came_to


def test_id_is_changed_once(shared_store: Store) -> None:
    ids = start()
    new = [session_id for came_to in race(cycle_or_log_out, ids) for session_id in came_to]
    alive = [session_id for session_id in new if session_id is not None]
    assert len(alive) <= SESSIONS
    assert shared_store.count("sessions:") == sum(map(SessionStore().exists, alive)) == len(alive)


def create(i: int) -> list[str | None]:
    """Make sessions whose ids are drawn from a few."""
    made = []
    drawn = partial(random.choice, IDS)
    with mock.patch.object(SessionStore, "_get_new_session_key", staticmethod(drawn)):
        for _ in range(SESSIONS):
            session = SessionStore()
            session["by"] = i
            session.save()
            made.append(session.session_key)
    return made


def test_processes_never_share_an_id(shared_store: Store) -> None:
    made = race(create)
    assert set(Counter(session_id for ids in made for session_id in ids).values()) == {1}
    for i, ids in enumerate(made):
        assert [SessionStore(session_id)["by"] for session_id in ids] == [i] * SESSIONS
    assert shared_store.count("sessions:") == PROCESSES * SESSIONS
