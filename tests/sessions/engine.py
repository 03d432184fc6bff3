"""An engine of a project, based on ours."""

from __future__ import annotations

from django_persist.sessions import SessionStore as PersistSessionStore


class SessionStore(PersistSessionStore):
    pass
