"""A panel for django-debug-toolbar with the store calls of a request. It never shows values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from debug_toolbar.panels import Panel
from debug_toolbar.utils import get_stack_trace, get_template_info
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .tracing import Call, add_tracer

READS: Final = ("get", "get_item", "in", "get_many")
CALLS_KEPT: Final = 500
"""Of more calls only the totals are kept: with its stack, a call takes three kilobytes."""
KEYS_COUNTED: Final = 10_000
"""Of how many keys the panel counts how often they are read."""
FRAMES_BETWEEN: Final = 5
"""How many frames there are between the caller of a store and the panel."""
KEYS_SHOWN: Final = 10
KEY_CHARS_SHOWN: Final = 300

_current: ContextVar[PersistPanel | None] = ContextVar("django_persist.panels", default=None)


@dataclass
class Recorded:
    """A call as the panel shows it, without any value."""

    name: str
    store: str
    driver: str
    keys: list[str]
    """The first of its keys."""
    more: int
    """How many more it has."""
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
        self.calls: list[Recorded] = []
        self._totals: dict[tuple[str, str], dict[str, Any]] = {}
        self._reads: Counter[tuple[str, str]] = Counter()
        self._outer: PersistPanel | None = None

    @classmethod
    def ready(cls) -> None:
        """Trace all stores. Each call then finds the panel of its own request."""
        add_tracer(_trace_for_panel)

    def enable_instrumentation(self) -> None:
        if _current.get() is not self:
            self._outer = _current.get()
            _current.set(self)

    def disable_instrumentation(self) -> None:
        _current.set(self._outer)

    def keep(self, call: Call) -> Recorded | None:
        """Return where to record the details of a call; None if there are enough calls already."""
        if len(self.calls) >= CALLS_KEPT:
            return None
        kept = Recorded(
            call.name,
            store=call.alias or "",
            driver=type(call.store.driver).__name__,
            keys=[_key_shown(key) for key in call.keys[:KEYS_SHOWN]],
            more=max(0, len(call.keys) - KEYS_SHOWN),
            trace=_trace(),
            template=get_template_info(),
        )
        self.calls.append(kept)
        return kept

    @contextmanager
    def record(self, call: Call, kept: Recorded | None) -> Iterator[None]:
        """Record a call: in the totals, and in `kept` if its details are shown."""
        store, driver = call.alias or "", type(call.store.driver).__name__
        if call.name in READS and len(self._reads) < KEYS_COUNTED:
            self._reads.update((store, _key_shown(key)) for key in call.keys[:KEYS_COUNTED])
        yield
        time, hits, misses = call.seconds * 1000, call.hits or 0, call.misses or 0
        if kept is not None:
            kept.time, kept.hits, kept.misses, kept.entries = time, hits, misses, call.entries
            kept.error = "" if call.error is None else call.error.__name__
        total = self._totals.setdefault(
            (store, driver),
            {"store": store, "driver": driver, "calls": 0, "time": 0.0, "hits": 0, "misses": 0},
        )
        for name, number in (("calls", 1), ("time", time), ("hits", hits), ("misses", misses)):
            total[name] += number

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        number = stats["number"]
        return ngettext(
            "%(number)d call in %(time).2fms", "%(number)d calls in %(time).2fms", number
        ) % {"number": number, "time": stats["time"]}

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        totals = list(self._totals.values())
        self.record_stats(
            {
                "number": sum(total["calls"] for total in totals),
                "time": sum(total["time"] for total in totals),
                "calls": [_call_stats(call, self._reads) for call in self.calls],
                "stores": totals,
                "repeated": [
                    {"store": store, "key": key, "times": times}
                    for (store, key), times in self._reads.most_common()
                    if times > 1
                ],
            }
        )

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        stats = self.get_stats()
        self.record_server_timing("total_time", f"Persist {stats['number']} Calls", stats["time"])


def _trace_for_panel(call: Call) -> AbstractContextManager[None] | None:
    """Record a call in the panel of its request; leave it alone if the request has none."""
    panel = _current.get()
    return None if panel is None else panel.record(call, panel.keep(call))


def _key_shown(key: str) -> str:
    return key[:KEY_CHARS_SHOWN].encode(errors="backslashreplace").decode()


def _trace() -> list[dict[str, Any]]:
    # Without the local variables that ENABLE_STACKTRACES_LOCALS adds: they contain values.
    return [
        {"path": path, "line": line, "function": function, "code": code}
        for path, line, function, code, *_locals in get_stack_trace(skip=FRAMES_BETWEEN)
    ]


def _call_stats(call: Recorded, reads: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Return a call as a dict for the template. The toolbar stores it as JSON."""
    times = max((reads[call.store, key] for key in call.keys), default=0)
    return {
        **vars(call),
        "times": times if call.name in READS else 0,
        "where": _where(call),
    }


def _where(call: Recorded) -> str:
    """Return the template line, or else the code line, that a call came from."""
    if call.template:
        lines = [line["num"] for line in call.template["context"] if line["highlight"]]
        return ":".join(map(str, (call.template["name"], *lines)))
    if not call.trace:
        return ""
    frame = call.trace[-1]
    short = "/".join(PurePath(frame["path"]).parts[-2:])
    return f"{short}:{frame['line']} {frame['function']}"
