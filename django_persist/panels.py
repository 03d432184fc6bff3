"""A panel for django-debug-toolbar with the store calls of a request. It never shows values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import PurePath
from time import perf_counter
from typing import Any, Final, TypeVar

from debug_toolbar.panels import Panel
from debug_toolbar.utils import get_stack_trace, get_template_info
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .handler import stores
from .keys import Key
from .store import Store

T = TypeVar("T")

READS: Final = ("get", "get_item", "__contains__", "get_many")
LISTINGS: Final = ("keys", "items")
CALLS: Final = (
    *READS,
    *LISTINGS,
    *("create", "set", "replace", "remove", "touch", "pop", "update", "get_or_create", "incr"),
    *("set_many", "create_many", "remove_many", "count", "clear", "purge"),
)
KEYS_SHOWN: Final = 10
KEY_CHARS_SHOWN: Final = 300

_ABSENT: Final = object()
"""Passed to `get` and `pop` as the default, to tell a miss from a stored value."""
_current: ContextVar[PersistPanel | None] = ContextVar("django_persist.panels", default=None)


@dataclass
class Call:
    """One call of a store method, without any value."""

    name: str
    store: str
    driver: str
    keys: list[str]
    trace: list[dict[str, Any]]
    template: dict[str, Any] | None
    time: float = 0.0
    """Milliseconds, for a listing including its iteration."""
    hits: int = 0
    misses: int = 0
    entries: int | None = None
    error: str = ""


class PersistPanel(Panel):
    """Show each store call of a request with its keys, hits and misses, time and stack trace.

    Keys that were read more than once are listed. Only calls of the request itself are recorded, in
    its thread or its coroutines, and only if the toolbar is shown for it.
    """

    nav_title = _("Persist")
    nav_icon: Any = "django_persist/panel.svg"
    title = _("Calls of the stores")
    template = "django_persist/panel.html"
    is_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[Call] = []
        self._outer: PersistPanel | None = None

    @classmethod
    def ready(cls) -> None:
        """Wrap the methods of Store once. Each call then finds the panel of its own request."""
        for name in CALLS:
            if not hasattr(getattr(Store, name), "__wrapped__"):
                setattr(Store, name, _recorded(name, getattr(Store, name)))

    def enable_instrumentation(self) -> None:
        if _current.get() is not self:
            self._outer = _current.get()
            _current.set(self)

    def disable_instrumentation(self) -> None:
        _current.set(self._outer)

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        number = len(stats["calls"])
        return ngettext(
            "%(number)d call in %(time).2fms", "%(number)d calls in %(time).2fms", number
        ) % {"number": number, "time": stats["time"]}

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        reads = Counter(
            (call.store, key) for call in self.calls if call.name in READS for key in call.keys
        )
        self.record_stats(
            {
                "time": sum(call.time for call in self.calls),
                "calls": [_call_stats(call, reads) for call in self.calls],
                "stores": _store_stats(self.calls),
                "repeated": [
                    {"store": store, "key": key, "times": times}
                    for (store, key), times in reads.most_common()
                    if times > 1
                ],
            }
        )

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        stats = self.get_stats()
        title = f"Persist {len(stats['calls'])} Calls"
        self.record_server_timing("total_time", title, stats["time"])


# Recording.


def _recorded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of Store that also records its calls in the panel of the request."""
    parameters = signature(original)

    @wraps(original)
    def recorded(store: Store, *args: Any, **kwargs: Any) -> Any:
        panel = _current.get()
        if panel is None:
            return original(store, *args, **kwargs)
        try:
            bound = parameters.bind(store, *args, **kwargs)
        except TypeError:
            return original(store, *args, **kwargs)  # Raises a TypeError with a better message.
        arguments = bound.arguments
        if "keys" in arguments and not isinstance(arguments["keys"], str | Key):
            arguments["keys"] = list(arguments["keys"])  # It may be an iterator.
        default = arguments.get("default")
        if name in ("get", "pop"):
            arguments["default"] = _ABSENT
        call = Call(
            name,
            store=stores.alias_of(store) or "",
            driver=type(store.driver).__name__,
            keys=[_key_shown(store, key) for key in _keys(arguments)],
            trace=_trace(),
            template=get_template_info(),
        )
        panel.calls.append(call)
        started = perf_counter()
        try:
            result = original(*bound.args, **bound.kwargs)
        except BaseException as error:
            call.error = type(error).__name__
            raise
        finally:
            call.time = (perf_counter() - started) * 1000
        _record_result(call, result)
        if name in LISTINGS:
            return _timed(call, result)
        return default if result is _ABSENT else result

    return recorded


def _keys(arguments: dict[str, Any]) -> list[Any]:
    """Return the keys, or the prefix, that a call was given."""
    for name in ("keys", "mapping"):
        if name in arguments and not isinstance(arguments[name], str | Key):
            return list(arguments[name])
    return [arguments[name] for name in ("key", "keys", "prefix") if name in arguments]


def _key_shown(store: Store, key: Any) -> str:
    # The key may be anything, even something that the store is going to refuse.
    name = key.name if isinstance(key, Key) else key
    text = (
        f"{store.keyspace.namespace}{name}" if isinstance(name, str) else f"<{type(name).__name__}>"
    )
    return text[:KEY_CHARS_SHOWN].encode(errors="backslashreplace").decode()


def _trace() -> list[dict[str, Any]]:
    # Without the local variables that ENABLE_STACKTRACES_LOCALS adds: they contain values.
    return [
        {"path": path, "line": line, "function": function, "code": code}
        for path, line, function, code, *_locals in get_stack_trace(skip=2)
    ]


def _record_result(call: Call, result: Any) -> None:
    """Record the hits and misses of a call, or the number of its entries."""
    match call.name:
        case "get" | "pop":
            call.hits = int(result is not _ABSENT)
        case "get_item":
            call.hits = int(result is not None)
        case "__contains__" | "remove" | "replace" | "touch":
            call.hits = int(result)
        case "get_or_create":
            call.hits = int(not result[1])
        case "get_many":
            call.hits = len(result)
        case "create_many":
            call.hits = len(result)
        case "remove_many":
            call.hits = result
        case "count" | "clear" | "purge":
            call.entries = result
            return
        case _:
            return
    call.misses = len(set(call.keys)) - call.hits


def _timed(call: Call, listing: Iterator[T]) -> Iterator[T]:
    """Iterate over a listing, and add its time and entries to the call."""
    call.entries = 0
    while True:
        started = perf_counter()
        try:
            entry = next(listing)
        except StopIteration:
            return
        except BaseException as error:
            call.error = type(error).__name__
            raise
        finally:
            call.time += (perf_counter() - started) * 1000
        call.entries += 1
        yield entry


# Statistics.


def _call_stats(call: Call, reads: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Return a call as a dict for the template. The toolbar stores it as JSON."""
    times = max((reads[call.store, key] for key in call.keys), default=0)
    name = "in" if call.name == "__contains__" else call.name
    return {
        **vars(call),
        "name": name,
        "keys": call.keys[:KEYS_SHOWN],
        "more": max(0, len(call.keys) - KEYS_SHOWN),
        "times": times if call.name in READS else 0,
        "where": _where(call),
    }


def _where(call: Call) -> str:
    """Return the template line, or else the code line, that a call came from."""
    if call.template:
        lines = [line["num"] for line in call.template["context"] if line["highlight"]]
        return ":".join(map(str, (call.template["name"], *lines)))
    if not call.trace:
        return ""
    frame = call.trace[-1]
    short = "/".join(PurePath(frame["path"]).parts[-2:])
    return f"{short}:{frame['line']} {frame['function']}"


def _store_stats(calls: list[Call]) -> list[dict[str, Any]]:
    """Return the totals of each store."""
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for call in calls:
        total = totals.setdefault(
            (call.store, call.driver),
            {"store": call.store, "driver": call.driver}
            | dict.fromkeys(("calls", "time", "hits", "misses"), 0),
        )
        total["calls"] += 1
        for name in ("time", "hits", "misses"):
            total[name] += getattr(call, name)
    return list(totals.values())
