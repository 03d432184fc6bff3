"""Django's sessions, kept in a store: `SESSION_ENGINE = "django_persist.sessions"`."""

from __future__ import annotations

import logging
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import (
    VALID_KEY_CHARS,
    CreateError,
    SessionBase,
    UpdateError,
)
from django.contrib.sessions.exceptions import SessionInterrupted
from django.utils.crypto import get_random_string

from .conf import session_alias
from .exceptions import DecodeError, DuplicateKeyError, MissingKeyError
from .handler import stores
from .store import Store

NAMESPACE: Final = "sessions"
TRIES: Final = 10

logger = logging.getLogger("django.security.SuspiciousSession")


class SessionStore(SessionBase):
    """A session in the store PERSIST_SESSION_STORE, under `sessions:` and a hash of its id.

    Its data is serialized by SESSION_SERIALIZER and signed with SECRET_KEY, as Django's database
    engine does, for this session alone. An unchanged session costs one read and no write. A store
    that can't be reached raises StoreUnavailableError: that is no reason to log anyone out.
    """

    _stored: str | None = None
    """The text of the entry, as this object has read or written it."""

    @cached_property
    def _store(self) -> Store:
        return _sessions()

    @property
    def key_salt(self) -> str:
        # One who may edit entries could else copy another user's session over an own one.
        return f"{__name__}.{_key(self.session_key or '')}"

    def load(self) -> dict[str, Any]:
        """Return the data; where there is no live entry, nothing, and the id is forgotten."""
        try:
            self._stored = self._store.get(_key(self.session_key or ""), as_=str, strict=True)
        except DecodeError:
            logger.warning("Session data corrupted")
            self._stored = None
        if self._stored is None:
            self._session_key = None
            return {}
        return self.decode(self._stored)

    def exists(self, session_key: str | None) -> bool:
        """Return whether there is a session of that id."""
        return session_key is not None and _key(session_key) in self._store

    def create(self) -> None:
        """Save the session under a new id, which is claimed by the write itself."""
        for _ in range(TRIES):
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return
        raise RuntimeError("No session could be created: every new id is said to be taken.")

    def _get_new_session_key(self) -> str:
        # Django's looks first whether it is taken, which costs a read and promises nothing.
        return get_random_string(32, VALID_KEY_CHARS)

    def save(self, must_create: bool = False) -> None:
        """Write the session, which lives for its age from now on; one without an id gets one.

        Raises UpdateError where it has been deleted or has expired meanwhile, and with
        `must_create` CreateError where its id is taken. Either is found out by the write itself.
        """
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        if self.session_key is None:
            self.create()
            return
        key, age = _key(self.session_key), self.get_expiry_age()
        if age <= 0:
            # It ends as it is saved.
            if not must_create and not self._store.remove(key):
                raise UpdateError
        elif must_create or self.modified or not self._is_as_stored(data):
            self._write(key, self.encode(data), age, must_create=must_create)
        # SESSION_SAVE_EVERY_REQUEST: what another request has written meanwhile is left alone.
        elif not self._store.touch(key, age):
            raise UpdateError

    def _write(self, key: str, text: str, age: float, *, must_create: bool) -> None:
        try:
            if must_create:
                self._store.create(key, text, expires=age)
            else:
                self._store.update(key, lambda _: text, expires=age)
        except DuplicateKeyError as error:
            raise CreateError from error
        except (MissingKeyError, DecodeError) as error:
            raise UpdateError from error
        self._stored = text

    def _is_as_stored(self, data: dict[str, Any]) -> bool:
        """Return whether nothing has changed, not even deep within, where `modified` is blind."""
        if self._stored is None:
            return False
        dumps = self.serializer().dumps
        return bool(dumps(data) == dumps(self.decode(self._stored)))

    def delete(self, session_key: str | None = None) -> None:
        """Delete the session of that id, by default this one."""
        session_key = self.session_key if session_key is None else session_key
        if session_key is not None:
            self._store.remove(_key(session_key))

    def cycle_key(self) -> None:
        """Move the session to a new id.

        Raises SessionInterrupted, which Django answers with 400, where another request has deleted
        it: what was logged out stays so under any id.
        """
        data, old = self._session, self.session_key  # type: ignore[attr-defined]
        # The new one first: after a crash in between the data is still there, and no client has
        # been told of an id but the old one.
        self.create()
        self._session_cache = data
        if old is not None and not self._store.remove(_key(old)):
            self.delete()
            raise SessionInterrupted("The session was deleted before its id could be changed.")

    async def acycle_key(self) -> None:
        """Do what `cycle_key` does."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete what has expired in the store, sessions or not, as `purge` does."""
        _sessions().purge()


def _sessions() -> Store:
    return stores[session_alias()].namespace(NAMESPACE)


def _key(session_key: str) -> str:
    # Who can list keys is not to learn an id. An id is random, 165 bits of it: there is no table of
    # hashes to make for it, which is what a salt is against, and no guessing that a slow hash or
    # a secret would hinder. Without one, a new SECRET_KEY orphans no entry.
    return sha256(session_key.encode()).hexdigest()
