"""What `manage.py check --deploy` warns of on the servers: settings that lose entries."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from redis.exceptions import RedisError

from ...exceptions import InvalidStoreError, PersistError
from .node import Node
from .servers import Servers

COMMANDS = ((b"INFO", b"memory"), (b"INFO", b"persistence"), (b"CONFIG", b"GET", b"save"))


def check_servers(servers: Servers, alias: str) -> Iterator[CheckMessage]:
    """Yield warnings about the primaries. Says nothing about those that can't be reached."""
    try:
        states = {node.name: _state(node) for node in servers.primaries()}
    except InvalidStoreError as error:
        yield Error(error.message, hint=error.hint, id=error.id)
        return
    except (PersistError, RedisError):
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
    """Return the settings that a server reports. Those that its user may not read are missing."""
    try:
        memory, persistence, save = node.run(COMMANDS, writes=False)
    except PersistError:
        return {}
    state: dict[str, str] = {}
    for info in (memory, persistence):
        if isinstance(info, bytes):
            lines = info.decode(errors="replace").splitlines()
            state.update(
                (name, value) for name, _, value in (line.partition(":") for line in lines)
            )
    if isinstance(save, list) and len(save) == 2:
        state["save"] = save[1].decode(errors="replace")
    return state
