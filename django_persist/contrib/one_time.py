"""One-time tokens for links, and one-time codes for people to type."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from django.utils.crypto import constant_time_compare, salted_hmac

from ..exceptions import InvalidKeyError, MissingKeyError
from ..expiry import parse_lifetime
from ..keys import Key, Part
from ..store import REMOVE, Remove, Store
from ._transactions import refuse_transaction

__all__ = ["OneTimeCode", "OneTimeToken", "PendingCode"]

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

FEWEST_DIGITS: Final = 4


class OneTimeToken(Generic[T]):
    """Tokens for one purpose, each for a value of the type `as_`, which one caller gets.

        INVITATION = OneTimeToken("invitation", as_=int, expires=timedelta(days=2))
        token = INVITATION.issue(request.persist, 7)            # send it to someone
        INVITATION.redeem(request.persist, token)               # 7, and None from then on

    The store holds only the SHA-256 of a token, so anyone who can read it can't redeem one. In a
    transaction on the store's database, a rollback makes a redeemed token valid again.
    """

    def __init__(self, purpose: Part, as_: TypeForm[T], expires: timedelta | float) -> None:
        lifetime = parse_lifetime("expires", expires)
        self._purpose = purpose
        self._template = Key("token:{purpose}:{digest}", as_=as_, expires=lifetime)

    def issue(self, store: Store, value: T) -> str:
        """Store the value, and return a new token: 43 characters that are safe in a URL."""
        token = secrets.token_urlsafe(32)
        store.create(self.key(token), value)
        return token

    def redeem(self, store: Store, token: str) -> T | None:
        """Return the value to one caller, in one atomic step, and None to all others."""
        return store.pop(self.key(token))

    def is_redeemable(self, store: Store, token: str) -> bool:
        """Return whether `redeem` would return a value, without using the token."""
        return self.key(token) in store

    def revoke(self, store: Store, token: str) -> bool:
        """Make the token invalid; return whether it was valid."""
        return store.remove(self.key(token))

    def key(self, token: str) -> Key[T]:
        """Return the key under which the token's value is stored."""
        digest = sha256(token.encode(errors="replace")).hexdigest()
        return self._template(purpose=self._purpose, digest=digest)


@dataclass(frozen=True)
class PendingCode:
    """What the store holds of a code: its HMAC with SECRET_KEY, and how often it may be tried."""

    digest: str
    tries_left: int


class OneTimeCode:
    """Codes of a few digits for one purpose, one at a time for each subject, such as a user's id.

        LOGIN = OneTimeCode("login", expires=timedelta(minutes=10), tries=5)
        code = LOGIN.issue(request.persist, user.pk)            # "048213": send it to the user
        LOGIN.redeem(request.persist, user.pk, "048213")        # True once

    Each guess uses up one of `tries`, whoever makes it; after the last one the code is void. Under
    any race no more than `tries` guesses are compared with the code, and one that is right wins.
    The comparison takes the same time wherever a guess is wrong.
    """

    def __init__(
        self, purpose: Part, *, expires: timedelta | float, digits: int = 6, tries: int = 5
    ) -> None:
        if digits < FEWEST_DIGITS:
            raise ValueError(f"digits must be at least {FEWEST_DIGITS}: {digits}.")
        if tries < 1:
            raise ValueError(f"tries must be at least 1: {tries}.")
        lifetime = parse_lifetime("expires", expires)
        self._purpose, self._digits, self._tries = purpose, digits, tries
        self._template = Key("code:{purpose}:{subject}", as_=PendingCode, expires=lifetime)

    def issue(self, store: Store, subject: Part) -> str:
        """Return a new code, with all its tries. An earlier code of the subject becomes void."""
        code = f"{secrets.randbelow(10**self._digits):0{self._digits}}"
        key = self.key(subject)
        store.set(key, PendingCode(_hmac(key, code), self._tries))
        return code

    def redeem(self, store: Store, subject: Part, code: str) -> bool:
        """Return whether the code is right, in one atomic step: it is void then.

        A wrong one uses up a try. Spaces don't count. Raises ImproperlyConfigured, before anything
        is compared, inside a transaction on the store's database: a rollback would give the try
        back.
        """
        refuse_transaction(store, "OneTimeCode.redeem()")
        try:
            key = self.key(subject)
        except InvalidKeyError:  # No code can have been issued for such a subject.
            return False
        digest = _hmac(key, "".join(code.split()))
        is_right = False

        def compare(pending: PendingCode) -> PendingCode | Remove:
            nonlocal is_right
            is_right = constant_time_compare(pending.digest, digest)
            if is_right or pending.tries_left <= 1:
                return REMOVE
            return replace(pending, tries_left=pending.tries_left - 1)

        try:
            store.update(key, compare)
        except MissingKeyError:
            return False
        return is_right

    def tries_left(self, store: Store, subject: Part) -> int:
        """Return how often the subject's code may still be tried: 0 if there is none."""
        pending = store.get(self.key(subject))
        return 0 if pending is None else pending.tries_left

    def revoke(self, store: Store, subject: Part) -> bool:
        """Make the subject's code void; return whether there was one."""
        return store.remove(self.key(subject))

    def key(self, subject: Part) -> Key[PendingCode]:
        """Return the key under which the subject's code is stored."""
        return self._template(purpose=self._purpose, subject=subject)


def _hmac(key: Key[PendingCode], code: str) -> str:
    """Return the code's HMAC. The few possible codes could be tried on a plain hash."""
    value = f"{key}:{code}".encode(errors="replace")
    return salted_hmac(f"{__name__}.OneTimeCode", value, algorithm="sha256").hexdigest()
