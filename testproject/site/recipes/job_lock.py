"""A lock on a job, with an owner and a lease: while one runs it, no other begins."""

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
    """Another has the lock."""


class LockLostError(Exception):
    """The lease ended before the work did, and another may have the lock by now."""


@dataclass
class Lock:
    """A lock that was taken. Its `number` is higher than that of any who had it before."""

    store: Store
    name: str
    owner: str
    lease: timedelta
    number: int = 0

    def renew(self) -> None:
        """Begin the lease anew. Raises LockLostError where it has ended."""
        self._replace(self.owner)

    def release(self) -> None:
        """Give the lock back. Raises LockLostError where the lease has ended."""
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
    """Have the lock within the block, or raise LockTakenError at once.

    A process that is killed leaves it locked until the lease ends. Raises LockLostError at the end
    of a block that took longer than the lease: the work was done, but maybe not alone.
    """
    owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    lock = Lock(store, name, owner, lease)
    try:
        store.create(OWNER(name=name), owner, expires=lease)
    except DuplicateKeyError as error:
        raise LockTakenError(name) from error
    try:
        lock.number = store.incr(NUMBER(name=name))
        lock.renew()  # The number was drawn while the lock was ours, so they go up in turn.
        yield lock
    except BaseException:
        with suppress(LockLostError, PersistError):  # Then the lease ends it.
            lock.release()
        raise
    lock.release()
