"""Every error that django_persist raises on purpose: one tree, rooted in PersistError.

A message names the key or the setting and says what to do. It never holds a stored value.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class PersistError(Exception):
    """Base class of all errors of django_persist."""


class DuplicateKeyError(PersistError):
    """`create` found a live entry under its key and left it unchanged."""

    @property
    def key(self) -> str:
        """The key, as it was passed."""
        return self.args[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"The key {self.key!r} already has a live entry; set() would replace it."


class MissingKeyError(PersistError, KeyError):
    """`update` found no live entry under its key and has no default to start from."""

    @property
    def key(self) -> str:
        """The key, as it was passed."""
        return self.args[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"The key {self.key!r} has no live entry; give update() a default to start from."


class InvalidKeyError(PersistError, ValueError):
    """The key is not one that every driver can hold, or a Key's template is invalid."""


class InvalidExpiryError(PersistError, ValueError):
    """The expiry isn't in the future, isn't finite, is naive, or is too far away to be stored."""


class EncodeError(PersistError, ValueError):
    """The value would not read back as what it is. The message names the path within it."""


class ValueTooLargeError(EncodeError):
    """The encoded value is larger than the store or its server accepts."""


class DecodeError(PersistError, ValueError):
    """The stored text isn't JSON, or isn't of the type asked for."""


class CounterRangeError(PersistError, OverflowError):
    """`incr` would leave the range of a signed 64-bit integer. The counter is unchanged."""


class ContentionError(PersistError):
    """The call lost against other writers. Nothing was stored.

    Outside a transaction, it kept losing until its tries or its time ran out. Inside the caller's
    transaction, there was a deadlock, a serialization failure or a lock timeout; the transaction is
    then marked for rollback and has to be run again as a whole.
    """


class NotSupportedError(PersistError, NotImplementedError):
    """The driver declares that it can't do this."""


class InvalidStoreError(PersistError, ImproperlyConfigured):
    """A setting of PERSIST, or something that it names, is unknown, missing or invalid."""

    def __init__(self, message: str, *, hint: str = "", id: str = "django_persist.E002") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.id = id

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class StoreUnavailableError(PersistError):
    """The store could not be reached, was cut off, or refused the call because of its own state.

    `__cause__` is the underlying driver's error. `maybe_applied` is False if the call certainly had
    no effect, and True if it may have had one because the reply to a write was lost.
    `misconfigured` is True if waiting won't help: the server refused the user, the password or the
    database, or the table is missing.
    """

    def __init__(
        self, message: str, *, maybe_applied: bool = False, misconfigured: bool = False
    ) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied
        self.misconfigured = misconfigured
