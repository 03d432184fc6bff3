"""Every error that django_persist raises on purpose: one tree, rooted in PersistError.

No message holds a stored value. Each names the key or the setting, and says what to do.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class PersistError(Exception):
    """Base class of all errors of django_persist."""


class DuplicateKeyError(PersistError):
    """`create` found a live entry under its key, and left it as it was."""

    @property
    def key(self) -> str:
        """The key, as it was passed."""
        return self.args[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"The key {self.key!r} already has a live entry; set() would replace it."


class MissingKeyError(PersistError, KeyError):
    """`update` found no live entry under its key, and was given no default."""

    @property
    def key(self) -> str:
        """The key, as it was passed."""
        return self.args[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"The key {self.key!r} has no live entry; give update() a default to start from."


class InvalidKeyError(PersistError, ValueError):
    """The key can't be held by every driver, or a Key's parts don't fit its template."""


class InvalidExpiryError(PersistError, ValueError):
    """The expiry isn't in the future, isn't finite, is naive, or is past what a store can hold."""


class EncodeError(PersistError, ValueError):
    """The value can't be stored faithfully; the message names the path within it."""


class ValueTooLargeError(EncodeError):
    """The encoded value is larger than the store, or its server, takes."""


class DecodeError(PersistError, ValueError):
    """The stored text isn't JSON, or isn't of the type that was asked for."""


class CounterRangeError(PersistError, OverflowError):
    """`incr` would leave the range of a signed 64-bit integer; the counter is as it was."""


class ContentionError(PersistError):
    """The call lost against other writers, and nothing of it was stored.

    Outside a transaction: it kept losing for as long as it may try. Inside the caller's: a
    deadlock, a serialization failure or a lock that could not be had; the transaction is then
    marked for rollback, and is to be run again as a whole.
    """


class NotSupportedError(PersistError, NotImplementedError):
    """The driver declares that it can't do this."""


class InvalidStoreError(PersistError, ImproperlyConfigured):
    """A setting of PERSIST, or something that it names, is unknown, missing or unfit."""

    def __init__(self, message: str, *, hint: str = "", id: str = "django_persist.E002") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.id = id

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class StoreUnavailableError(PersistError):
    """The store could not be reached, was cut off, or refused for its own state.

    `__cause__` is the error of the driver underneath. `maybe_applied` is false where the call
    certainly had no effect, and true where it may have had: the reply to a write was lost.
    """

    def __init__(self, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied
