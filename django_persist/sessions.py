"""A session engine for Django on a store: `SESSION_ENGINE = "django_persist.sessions"`."""

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
from .expiry import LONGEST
from .handler import stores
from .store import Store

NAMESPACE: Final = "sessions"
TRIES: Final = 10

logger = logging.getLogger("django.security.SuspiciousSession")


class SessionStore(SessionBase):
    """A session in the store PERSIST_SESSION_STORE, under the key `sessions:` and a hash of its id.

    Like Django's database engine it serializes the data with SESSION_SERIALIZER and signs it with
    SECRET_KEY; the signature is valid only for this session. An unchanged session costs one read
    and no write. If the store can't be reached, StoreUnavailableError is raised, so that nobody is
    logged out by it.
    """

    _stored: str | None = None
    """The text of the entry as this object last read or wrote it."""

    @cached_property
    def _store(self) -> Store:
        return _session_store()

    @property
    def key_salt(self) -> str:
        # Signed for this session only. Otherwise anyone who can edit entries could copy another
        # user's session over their own.
        return f"{__name__}.{_key(self.session_key or '')}"

    def load(self) -> dict[str, Any]:
        """Return the data. If there is no live entry, return {} and forget the id."""
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
        """Return whether there is a session with that id."""
        return session_key is not None and _key(session_key) in self._store

    def create(self) -> None:
        """Save the session under a new id. The write itself ensures that the id is unused."""
        for _ in range(TRIES):
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return
        raise RuntimeError("No session was created: the store has an entry for every new id.")

    def _get_new_session_key(self) -> str:
        # Django's method first checks whether the id is in use. That costs a read and guarantees
        # nothing, because another process may use the id before the write.
        return get_random_string(32, VALID_KEY_CHARS)

    def save(self, must_create: bool = False) -> None:
        """Write the session and restart its lifetime. A session without an id gets a new one.

        Raises UpdateError if it was deleted or has expired since it was loaded and, with
        `must_create`, CreateError if its id is in use. The write itself finds out about both.
        """
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        if self.session_key is None:
            self.create()
            return
        # Django's own engines take any age. No store takes one of more than a thousand years.
        age = min(self.get_expiry_age(), LONGEST.total_seconds())
        key = _key(self.session_key)
        if age <= 0:
            # It has already expired.
            if not must_create and not self._store.remove(key):
                raise UpdateError
        elif must_create or self.modified or not self._is_unchanged(data):
            self._write(key, self.encode(data), age, must_create=must_create)
        # With SESSION_SAVE_EVERY_REQUEST unchanged sessions are saved too. Touching instead of
        # writing keeps what another request has written since.
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

    def _is_unchanged(self, data: dict[str, Any]) -> bool:
        """Return whether the data is the stored one, also inside nested values.

        `modified` is not set by a change inside a nested value.
        """
        if self._stored is None:
            return False
        dumps = self.serializer().dumps
        return bool(dumps(data) == dumps(self.decode(self._stored)))

    def delete(self, session_key: str | None = None) -> None:
        """Delete the session with that id, by default this one."""
        session_key = self.session_key if session_key is None else session_key
        if session_key is not None:
            self._store.remove(_key(session_key))

    def cycle_key(self) -> None:
        """Move the session to a new id.

        Raises SessionInterrupted, which Django answers with status 400, if another request has
        deleted the session: it must not come back under a new id.
        """
        data, old = self._session, self.session_key  # type: ignore[attr-defined]
        # Create the new session before deleting the old one, so that an interruption between them
        # loses nothing: the client still has the old id.
        self.create()
        self._session_cache = data
        if old is not None and not self._store.remove(_key(old)):
            self.delete()
            raise SessionInterrupted("The session was deleted before its id could be changed.")

    async def acycle_key(self) -> None:
        """Do the same as `cycle_key`."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete all expired entries of the store, not only sessions. The same as `purge`."""
        _session_store().purge()


def _session_store() -> Store:
    return stores[session_alias()].namespace(NAMESPACE)


def _key(session_key: str) -> str:
    # Anyone who can list keys must not learn a session id. An id has 165 random bits, too many for
    # a table of hashes or for guessing, so a salt or a slow hash would add nothing. A hash without
    # a secret keeps the entries valid when SECRET_KEY changes.
    return sha256(session_key.encode()).hexdigest()
