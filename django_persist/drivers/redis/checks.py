"""What `manage.py check --deploy` warns of on the servers: settings that lose entries."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from redis.exceptions import RedisError

from ...exceptions import InvalidStoreError, PersistError
from ..base import could_not_ask
from .node import Node, raise_for_errors
from .servers import Servers

COMMANDS = ((b"INFO", b"memory"), (b"INFO", b"persistence"), (b"CONFIG", b"GET", b"save"))


def check_servers(servers: Servers, alias: str) -> Iterator[CheckMessage]:
    """Yield warnings about the primaries, and about those that could not be asked."""
    states: dict[str, dict[str, str]] = {}
    try:
        for node in servers.primaries():
            try:
                states[node.name] = _state(node)
            except (PersistError, RedisError) as error:
                yield could_not_ask(f"CACHES[{alias!r}]", error)
    except InvalidStoreError as error:
        yield Error(error.message, hint=error.hint, id=error.id)
        return
    except (PersistError, RedisError) as error:
        yield could_not_ask(f"CACHES[{alias!r}]", error)
        return
    evicting = [
        f"{name} has the maxmemory-policy {policy}"
        for name, state in states.items()
        if (policy := state.get("maxmemory_policy", "noeviction")) != "noeviction"
    ]
    if evicting:
        yield Warning(
            f"CACHES[{alias!r}] may lose entries that have not expired: {', '.join(evicting)}.",
            hint="Set maxmemory-policy to noeviction: a server that is out of memory then refuses "
            "writes.",
            id="django_persist.W005",
        )
    volatile = [
        name
        for name, state in states.items()
        if state.get("aof_enabled") == "0" and state.get("save") == ""
    ]
    if volatile:
        yield Warning(
            f"CACHES[{alias!r}] keeps entries in memory only: there is no append-only file and "
            f"there are no save points on {', '.join(volatile)}.",
            hint="Set appendonly to yes. Without it a restart loses every entry.",
            id="django_persist.W006",
        )


def _state(node: Node) -> dict[str, str]:
    """Return the settings that a server reports.

    The save points are missing if its user may not read them, or they have no such name.
    Raises StoreUnavailableError, and redis-py's ResponseError if the user may not ask for INFO.
    """
    memory, persistence, save = node.run(COMMANDS, writes=False)
    state: dict[str, str] = {}
    for info in raise_for_errors([memory, persistence], node.name, writes=False):
        lines = info.decode(errors="replace").splitlines()
        state.update((name, value) for name, _, value in (line.partition(":") for line in lines))
    if isinstance(save, list) and len(save) == 2:
        state["save"] = save[1].decode(errors="replace")
    return state
