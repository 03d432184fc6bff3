"""Locks with a lease: one owner at a time, or at most N owners."""

from __future__ import annotations

import math
import os
import random
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import constant_time_compare

from ..backoff import polls
from ..exceptions import DuplicateKeyError, PersistError, StoreUnavailableError
from ..expiry import parse_lifetime
from ..keys import Key, Part
from ..store import Store
from ._transactions import refuse_transaction

__all__ = ["Lease", "Lock", "LockLostError", "LockTakenError", "Slots"]

LEASE: Final = 60
"""Seconds. How long a lock stays taken by default if its owner dies."""

_LOCK: Final = Key("lock:{name}", as_=str)
_LOCK_NUMBER: Final = Key("lock:{name}:number", as_=int, expires=None)
_SLOT: Final = Key("slots:{name}:{slot}", as_=str)
_SLOTS_NUMBER: Final = Key("slots:{name}:number", as_=int, expires=None)


class LockTakenError(PersistError):
    """Another owner has the lock, or others have all slots."""

    def __str__(self) -> str:
        return f"The lock {self.args[0]!r} is taken."


class LockLostError(PersistError):
    """The lock no longer belongs to this owner: its lease ended. Another owner may have it."""

    def __str__(self) -> str:
        return f"The lock {self.args[0]!r} is lost: its lease ended, or it was handed over."


class Lease:
    """A lock or slot that was taken: `Lock.acquire`, `Lock.adopt` and `with` return it.

    As a context manager it releases the lock at the end of the block.
    """

    number: int
    """The fencing number. It is higher than that of every earlier owner under this name."""

    token: str
    """What `adopt` takes, in any process. Nobody can guess it."""

    slot: int
    """Which one of Slots it is, from 0. Always 0 for a Lock."""

    def __init__(
        self, store: Store, key: Key[str], lifetime: timedelta, *, token: str, slot: int
    ) -> None:
        self.token, self.slot = token, slot
        self._store, self._key, self._lifetime = store, key, lifetime
        self._is_ours = True

    def __repr__(self) -> str:
        return f"<Lease of {self._key.name!r}, number {self.number}>"

    def _count(self, number: Key[int]) -> None:
        """Draw the number. Raises LockLostError if the lease ended before that was done."""
        self.number = self._store.incr(number)
        # As the lock is still ours, no other owner has drawn a number meanwhile.
        item = self._store.get_item(self._key)
        if item is None or item.value != self.token:
            raise LockLostError(self._key.name)
        self._version = item.version

    @property
    def owner(self) -> str:
        """The host and the process id of the owner, for people to read."""
        return _owner(self.token)

    def renew(self) -> None:
        """Restart the lease, in one atomic step. Raises LockLostError if it has ended."""
        refuse_transaction(self._store, "Lease.renew()")
        try:
            renewed = self._replace()
        except StoreUnavailableError as error:
            if not error.maybe_applied:
                raise
            renewed = self._replace()  # To renew twice does no harm.
        if not renewed:
            raise LockLostError(self._key.name)

    def _replace(self) -> bool:
        return self._store.replace(self._key, self.token, self._version, expires=self._lifetime)

    def release(self) -> None:
        """Release the lock, in one atomic step. Raises LockLostError if the lease has ended.

        A lock that another owner has is left alone.
        """
        refuse_transaction(self._store, "Lease.release()")
        self._is_ours = False
        try:
            released = self._store.remove(self._key, version=self._version)
        except StoreUnavailableError as error:
            if not error.maybe_applied:
                raise
            self._store.remove(self._key, version=self._version)
            return  # If it was gone, the first call has done it.
        if not released:
            raise LockLostError(self._key.name)

    def hand_over(self) -> None:
        """Leave the lock to whoever adopts the token: the end of the block won't release it."""
        self._is_ours = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_ours:
            return
        if exc is None:
            self.release()
            return
        # The block's own error matters more; the lease will end.
        with suppress(PersistError, ImproperlyConfigured):
            self.release()


class _Leases:
    """What Lock and Slots share: they take one of their keys, whose expiry is the lease."""

    def __init__(
        self,
        store: Store,
        name: str,
        keys: list[Key[str]],
        number: Key[int],
        lease: timedelta | float,
        wait: timedelta | float,
    ) -> None:
        seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
        if not 0 <= seconds < math.inf:
            raise ValueError(f"wait must not be negative or infinite: {wait}.")
        self._store, self._name = store, name
        self._keys, self._number = keys, number
        self._lifetime, self._wait = parse_lifetime("lease", lease), seconds
        # Two blocks at once, in threads or interleaved, could not tell which Lease ends with which.
        self._single_use = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"

    def acquire(self) -> Lease:
        """Take the lock, waiting for it up to `wait` seconds. The caller has to release it.

        Raises LockTakenError if others still have it then; LockLostError if the lease ended before
        the call did, because the process was paused; ImproperlyConfigured, before anything is
        written, inside a transaction on the store's database.
        """
        refuse_transaction(self._store, f"{type(self).__name__}.acquire()")
        token = _new_token()
        for attempt in polls(self._wait):
            # The first try at a lock doesn't look whether it is free: most of the time it is.
            for slot in self._free() if attempt or len(self._keys) > 1 else [0]:
                lease = self._take(slot, token, lambda key: self._create(key, token))
                if lease is not None:
                    return lease
        raise LockTakenError(self._name)

    def _free(self) -> list[int]:
        """Return the slots that seem free, in random order, so that few callers try the same."""
        taken = self._store.get_many(self._keys)
        free = [slot for slot, key in enumerate(self._keys) if key not in taken]
        random.shuffle(free)
        return free

    def _take(self, slot: int, token: str, write: Callable[[Key[str]], bool]) -> Lease | None:
        """Make a slot ours by `write`; return None if that finds that it isn't to be had."""
        key = self._keys[slot]
        lease = Lease(self._store, key, self._lifetime, token=token, slot=slot)
        try:
            try:
                written = write(key)
            except StoreUnavailableError as error:
                if not error.maybe_applied or self._store.get(key) != token:
                    raise
                written = True
            if not written:
                return None
            lease._count(self._number)
        except StoreUnavailableError:
            raise  # The lease will end what was taken. Asking again could mean waiting again.
        except BaseException:
            with suppress(PersistError):
                self._drop(key, token)
            raise
        return lease

    def _create(self, key: Key[str], token: str) -> bool:
        try:
            self._store.create(key, token, expires=self._lifetime)
        except DuplicateKeyError:
            return False
        return True

    def _drop(self, key: Key[str], token: str) -> None:
        item = self._store.get_item(key)
        if item is not None and item.value == token:
            self._store.remove(key, version=item.version)

    def adopt(self, token: str) -> Lease:
        """Take over from the owner with that token, restart the lease, and draw a new number.

        Of any number of callers with one token, one adopts; then the token is no longer valid.
        Raises LockLostError for the others, and if the lease has ended; ImproperlyConfigured as
        `acquire` does.
        """
        refuse_transaction(self._store, f"{type(self).__name__}.adopt()")
        slot, version = self._find(token)
        new, lifetime = _new_token(), self._lifetime
        lease = self._take(
            slot, new, lambda key: self._store.replace(key, new, version, expires=lifetime)
        )
        if lease is None:
            raise LockLostError(self._name)
        return lease

    def _find(self, token: str) -> tuple[int, str]:
        """Return the slot of the owner with that token, and the version of its entry."""
        given = token.encode(errors="replace")  # It may be what a client sent.
        for slot, key in enumerate(self._keys):
            item = self._store.get_item(key)
            if item is not None and constant_time_compare(item.value, given):
                return slot, item.version
        raise LockLostError(self._name)

    def owners(self) -> list[str]:
        """Return the host and process id of each current owner, for people to read."""
        return [_owner(token) for token in self._store.get_many(self._keys).values()]

    def __enter__(self) -> Lease:
        if not self._single_use.acquire(blocking=False):
            raise RuntimeError(
                f"{self!r} has been used in a `with` before. To use it again, or in several "
                "threads, write `with lock.acquire() as lease`."
            )
        self._lease = self.acquire()
        return self._lease

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lease.__exit__(exc_type, exc, traceback)


class Lock(_Leases):
    """A lock that one owner has at a time, across processes and machines.

        with Lock(persist, "report", lease=300, wait=5) as lock:
            ...                         # lock.number, lock.renew()

    `lease` and `wait` are seconds or a timedelta. If the owner dies, the lock is free when the
    lease ends, by the store's clock. A block that takes longer than the lease raises LockLostError
    at its end. Without `wait`, a taken lock raises at once.

    `with lock:` works once for each Lock. One that is defined once and shared, also by threads, is
    taken by `with lock.acquire():`. A Lock is neither reentrant nor fair.
    """

    def __init__(
        self,
        store: Store,
        name: Part,
        *,
        lease: timedelta | float = LEASE,
        wait: timedelta | float = 0,
    ) -> None:
        number = _LOCK_NUMBER(name=name)
        super().__init__(store, str(name), [_LOCK(name=name)], number, lease, wait)


class Slots(_Leases):
    """`count` slots, each of which one owner has at a time: at most `count` owners.

        with Slots(persist, "gpu", 4, lease=300, wait=5) as gpu:
            ...                         # gpu.slot: 0, 1, 2 or 3

    The slot of an owner that dies is free when its lease ends. Everything else is as for a Lock.
    """

    def __init__(
        self,
        store: Store,
        name: Part,
        count: int,
        *,
        lease: timedelta | float = LEASE,
        wait: timedelta | float = 0,
    ) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError("count must be a positive int.")
        keys = [_SLOT(name=name, slot=slot) for slot in range(count)]
        super().__init__(store, str(name), keys, _SLOTS_NUMBER(name=name), lease, wait)


def _new_token() -> str:
    return f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(16)}"


def _owner(token: str) -> str:
    return token.rpartition(" ")[0]
