"""Sessions as one request saves them and as the next request loads them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django_persist.sessions import SessionStore


def saved(**data: Any) -> SessionStore:
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def again(session: SessionStore) -> SessionStore:
    """Return the session as the next request gets it."""
    return SessionStore(session.session_key)


def key(session_id: str | None) -> str:
    assert session_id is not None
    return sha256(session_id.encode()).hexdigest()
