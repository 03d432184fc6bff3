"""A lock with an owner and a lease, so that a job runs once at a time."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django_persist import REMOVE, Key, Remove, Store
from django_persist.exceptions import DuplicateKeyError, MissingKeyError, PersistError

OWNER: Final = Key("lock:{name}", as_=str)
NUMBER: Final = Key("lock:{name}:number", as_=int, expires=None)


class LockTakenError(Exception):
    """Another owner has the lock."""


class LockLostError(Exception):
    """The lease ended before the work did. Another owner may have the lock by now."""


@dataclass
class Lock:
    """A lock that was taken. Its `number` is higher than the number of every earlier owner."""

    store: Store
    name: str
    owner: str
    lease: timedelta
    number: int = 0

    def renew(self) -> None:
        """Restart the lease. Raises LockLostError if it has ended."""
        self._replace(self.owner)

    def release(self) -> None:
        """Release the lock. Raises LockLostError if the lease has ended."""
        self._replace(REMOVE)

    def _replace(self, new: str | Remove) -> None:
        def replace(owner: str) -> str | Remove:
            if owner != self.owner:
                raise LockLostError(self.name)
            return new

        try:
            self.store.update(OWNER(name=self.name), replace, expires=self.lease)
        except MissingKeyError as error:
            raise LockLostError(self.name) from error


@contextmanager
def job_lock(store: Store, name: str, lease: timedelta) -> Iterator[Lock]:
    """Hold the lock during the block, or raise LockTakenError at once.

    If the process is killed, the lock stays taken until the lease ends. Raises LockLostError at the
    end of a block that took longer than the lease: another owner may have worked at the same time.
    """
    owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    lock = Lock(store, name, owner, lease)
    try:
        store.create(OWNER(name=name), owner, expires=lease)
    except DuplicateKeyError as error:
        raise LockTakenError(name) from error
    try:
        lock.number = store.incr(NUMBER(name=name))
        lock.renew()  # The lock is still ours, so our number is higher than every earlier one.
        yield lock
    except BaseException:
        with suppress(LockLostError, PersistError):  # The lease will end it.
            lock.release()
        raise
    lock.release()
