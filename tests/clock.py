"""Let time pass for a store without waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django_persist import Store
from django_persist.drivers.redis import RedisDriver

if TYPE_CHECKING:
    from time_machine import Traveller

_MILLISECOND = timedelta(milliseconds=1)


def elapse(store: Store, span: timedelta | float, clock: Traveller | None) -> None:
    """Let a timedelta, or seconds, pass for a store.

    This moves `clock` if the store goes by the application's clock. The clock of a Redis server
    can't be moved: there the entries are made older instead.
    """
    if isinstance(store.driver, RedisDriver):
        age(store.driver, span if isinstance(span, timedelta) else timedelta(seconds=span))
    else:
        assert clock is not None
        clock.shift(span)


def age(driver: RedisDriver, span: timedelta) -> None:
    """Make each of the driver's entries expire earlier, as if `span` had passed.

    It works for one server and for a cluster.
    """
    servers = driver.servers
    # A scan may return a key twice.
    keys = {key for page in servers.scan(driver.prefix.encode() + b"*") for key in page}
    # The value of a sliding rate limit is a time too.
    micros = span // timedelta(microseconds=1)
    times = [key for key in keys if b"sliding-rate:" in key]
    servers.batch([(key, (b"DECRBY", key, micros)) for key in times], True)
    ends = servers.batch([(key, (b"PEXPIRETIME", key)) for key in keys], False)
    servers.batch(
        [
            # Redis deletes a key whose time is past. It refuses a time before 1970.
            (key, (b"PEXPIREAT", key, max(1, end - span // _MILLISECOND)))
            for key, end in zip(keys, ends, strict=True)
            if end > 0
        ],
        True,
    )
