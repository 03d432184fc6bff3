"""One-time tokens: the first caller to redeem a token gets its value, everyone else nothing."""

from __future__ import annotations

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Final, Generic, TypeVar

from django_persist import Key, Store

T = TypeVar("T")

INVALID: Final = "This link has been used, has expired, or never existed."
"""One message for all three cases: which one it is would only help someone who guesses."""


class OneTimeToken(Generic[T]):
    """Tokens for one purpose, each for a value of the type `as_`.

    The store holds only the hash of a token, so anyone who can read its keys can't redeem one.
    """

    def __init__(self, purpose: str, as_: type[T], expires: timedelta) -> None:
        self._purpose = purpose
        self._template = Key("token:{purpose}:{digest}", as_=as_, expires=expires)

    def issue(self, store: Store, value: T) -> str:
        """Store the value, and return a new token: 43 characters that are safe in a URL."""
        token = secrets.token_urlsafe(32)
        store.create(self.key(token), value)
        return token

    def redeem(self, store: Store, token: str) -> T | None:
        """Return the value to the first caller, and None to every other."""
        return store.pop(self.key(token))

    def is_redeemable(self, store: Store, token: str) -> bool:
        """Return whether `redeem` would return a value, without using the token."""
        return self.key(token) in store

    def revoke(self, store: Store, token: str) -> bool:
        """Make the token invalid; return whether it was valid."""
        return store.remove(self.key(token))

    def key(self, token: str) -> Key[T]:
        digest = sha256(token.encode(errors="replace")).hexdigest()
        return self._template(purpose=self._purpose, digest=digest)
