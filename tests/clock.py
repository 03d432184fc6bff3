"""Time that passes for a store, without waiting for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django_persist import Store
from django_persist.drivers.redis import RedisDriver

if TYPE_CHECKING:
    from time_machine import Traveller

_MILLISECOND = timedelta(milliseconds=1)


def elapse(store: Store, span: timedelta | float, clock: Traveller | None) -> None:
    """Let a span, or seconds, pass for a store: by moving `clock` where the store goes by ours.

    A Redis server goes by its own, which nothing moves: there the entries age instead.
    """
    if isinstance(store.driver, RedisDriver):
        age(store.driver, span if isinstance(span, timedelta) else timedelta(seconds=span))
    else:
        assert clock is not None
        clock.shift(span)


def age(driver: RedisDriver, span: timedelta) -> None:
    """Bring the end of each of the driver's entries nearer, as if so much time had passed.

    That is the same for whatever was written before, on one server and on all of a cluster's.
    """
    servers = driver.servers
    # A scan may tell a key twice.
    keys = {key for page in servers.scan(driver.prefix.encode() + b"*") for key in page}
    ends = servers.batch([(key, (b"PEXPIRETIME", key)) for key in keys], False)
    servers.batch(
        [
            # What ends in the past is deleted; before 1970 is refused.
            (key, (b"PEXPIREAT", key, max(1, end - span // _MILLISECOND)))
            for key, end in zip(keys, ends, strict=True)
            if end > 0
        ],
        True,
    )
