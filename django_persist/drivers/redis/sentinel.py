"""Which server is the primary, as Sentinel says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

from ...exceptions import PersistError
from .node import Node, raise_for_error

MASTERS = (b"SENTINEL", b"MASTERS")


class Primary:
    """The primary of a service. redis-py's Sentinel connections ask it where to connect.

    redis-py would ask the Sentinels itself, over pools of its own, which hand out a connection
    whose opening was interrupted. Its rules for what a Sentinel says are used.
    """

    is_master = True

    def __init__(
        self,
        service_name: str,
        manager: Any,
        sentinels: Sequence[Node],
        *,
        check_connection: bool,
    ) -> None:
        self.service_name = service_name
        self.check_connection = check_connection
        self.on_change: Callable[[], None] = lambda: None
        """Called when the primary is another than before."""
        self._manager = manager
        self._sentinels = list(sentinels)
        self._address: tuple[str, int] | None = None

    def get_master_address(self) -> tuple[str, int]:
        """Ask the Sentinels, the one that last knew first. Raises MasterNotFoundError."""
        failures: list[Exception] = []
        for sentinel in self._sentinels:
            try:
                replies = sentinel.run((MASTERS,), writes=False)
                masters = _parse(raise_for_error(replies[0], sentinel.name))
            except (PersistError, RedisError) as error:
                failures.append(error)
                continue
            state = masters.get(self.service_name)
            if state and self._manager.check_master_state(state, self.service_name):
                self._sentinels = [sentinel, *(s for s in self._sentinels if s is not sentinel)]
                return self._changed((self._forced_ip or state["ip"], state["port"]))
        reasons = " ".join(map(str, failures)) or "it is down."
        # A Sentinel that can't be reached matters less than one that refuses the password.
        refused = (error for error in failures if getattr(error, "misconfigured", False))
        raise MasterNotFoundError(
            f"No primary found for {self.service_name!r}: {reasons}"
        ) from next(refused, None)

    @property
    def _forced_ip(self) -> str | None:
        # redis-py has no public name for it.
        ip: str | None = self._manager._force_master_ip
        return ip

    def _changed(self, address: tuple[str, int]) -> tuple[str, int]:
        if address != self._address:
            self._address = address
            self.on_change()
        return address


def _parse(reply: Sequence[Sequence[bytes]]) -> dict[str, dict[str, Any]]:
    """Return the state of each service, as redis-py's check_master_state takes it."""
    masters = {}
    for fields in reply:
        texts = [field.decode() for field in fields]
        state = dict(zip(texts[::2], texts[1::2], strict=True))
        flags = state["flags"].split(",")
        masters[state["name"]] = {
            "ip": state["ip"],
            "port": int(state["port"]),
            "is_master": "master" in flags,
            "is_sdown": "s_down" in flags,
            "is_odown": "o_down" in flags,
            "num-other-sentinels": int(state["num-other-sentinels"]),
        }
    return masters
