"""What the deployment check says of the servers that keep entries."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from redis.exceptions import RedisError

from ...exceptions import InvalidStoreError, PersistError
from .node import Node
from .servers import Servers

QUESTIONS = ((b"INFO", b"memory"), (b"INFO", b"persistence"), (b"CONFIG", b"GET", b"save"))


def check_servers(servers: Servers, alias: str) -> Iterator[CheckMessage]:
    """Yield what the primaries tell; nothing of those that can't be reached."""
    try:
        told = {node.name: _told(node) for node in servers.primaries()}
    except InvalidStoreError as error:
        yield Error(error.message, hint=error.hint, id=error.id)
        return
    except (PersistError, RedisError):
        return
    evicting = [
        f"{name} has the maxmemory-policy {state['maxmemory_policy']}"
        for name, state in told.items()
        if state.get("maxmemory_policy", "noeviction") != "noeviction"
    ]
    if evicting:
        yield Warning(
            f"CACHES[{alias!r}] may lose entries that have not expired: {', '.join(evicting)}.",
            hint="Set maxmemory-policy to noeviction: where memory runs out, writes are refused.",
            id="django_persist.W005",
        )
    forgetting = [
        name for name, s in told.items() if s.get("aof_enabled") == "0" and s.get("save") == ""
    ]
    if forgetting:
        yield Warning(
            f"CACHES[{alias!r}] keeps entries in memory alone: no append-only file and no save "
            f"points on {', '.join(forgetting)}.",
            hint="Set appendonly to yes, or a restart loses every entry.",
            id="django_persist.W006",
        )


def _told(node: Node) -> dict[str, str]:
    """Return what a server says of itself: less where a user, or a service, may not ask it all."""
    try:
        memory, persistence, save = node.run(QUESTIONS, writes=False)
    except PersistError:
        return {}
    told: dict[str, str] = {}
    for info in (memory, persistence):
        if isinstance(info, bytes):
            lines = info.decode(errors="replace").splitlines()
            told.update((name, value) for name, _, value in (line.partition(":") for line in lines))
    if isinstance(save, list) and len(save) == 2:
        told["save"] = save[1].decode(errors="replace")
    return told
