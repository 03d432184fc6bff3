"""A one-time token: whoever redeems it first gets what it stands for, and nobody after."""

from __future__ import annotations

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Final, Generic, TypeVar

from django_persist import Key, Store

T = TypeVar("T")

INVALID: Final = "This link was used, has ended, or never was."
"""All that anyone is told: which of the three it is helps only those who guess."""


class OneTimeToken(Generic[T]):
    """Tokens for one purpose, each of which stands for a value of one type.

    The store has only the hash of a token, so that who can read its keys can redeem none.
    """

    def __init__(self, purpose: str, as_: type[T], expires: timedelta) -> None:
        self._purpose = purpose
        self._template = Key("token:{purpose}:{digest}", as_=as_, expires=expires)

    def issue(self, store: Store, value: T) -> str:
        """Return a new token, of 43 characters that can stand in a URL."""
        token = secrets.token_urlsafe(32)
        store.create(self.key(token), value)
        return token

    def redeem(self, store: Store, token: str) -> T | None:
        """Return what the token stands for, to the first who asks; None to all others."""
        return store.pop(self.key(token))

    def is_redeemable(self, store: Store, token: str) -> bool:
        """Return whether `redeem` would find something, without using the token up."""
        return self.key(token) in store

    def revoke(self, store: Store, token: str) -> bool:
        return store.remove(self.key(token))

    def key(self, token: str) -> Key[T]:
        digest = sha256(token.encode(errors="replace")).hexdigest()
        return self._template(purpose=self._purpose, digest=digest)
