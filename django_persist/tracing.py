"""One hook around every call of a store: for a debug panel, spans, metrics, or a log of slow calls.

    @contextmanager
    def log_slow(call):
        yield
        if call.seconds > 0.1:
            logger.warning("%s on %s took %.3f s", call.name, call.alias, call.seconds)

    add_tracer(log_slow)        # for example in the ready() of an AppConfig

The first tracer wraps the methods of Store, and the last one to go unwraps them: without a tracer,
a call runs the same code as if this module did not exist.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property, wraps
from inspect import signature
from threading import Lock
from time import perf_counter
from typing import Any, Final, TypeAlias, TypeVar

from .handler import stores
from .interruptions import is_from_outside, raise_if_from_outside
from .keys import Key
from .store import Store

T = TypeVar("T")

LISTINGS: Final = frozenset({"keys", "items"})
PREFIXED: Final = frozenset({*LISTINGS, "count", "clear"})
"""The calls that take a prefix in place of a key."""
METHODS: Final = (
    *("create", "set", "get", "get_item", "replace", "remove", "__contains__", "touch", "pop"),
    *("update", "get_or_create", "incr", "get_many", "set_many", "create_many", "remove_many"),
    *("keys", "items", "count", "clear", "purge"),
)

_ABSENT: Final = object()
"""Passed to `get` and `pop` as the default, to tell a miss from a stored value."""

logger = logging.getLogger("django_persist")


class Call:
    """One call of a store. It never holds a value. Its result is there once the call has ended."""

    seconds: float = 0.0
    """How long the call took; for a listing, the time spent in it while the caller iterated."""
    hits: int | None = None
    """How many of its keys had a live entry; None if the call doesn't find that out."""
    misses: int | None = None
    """How many had none. A value of another type than was asked for is a miss, too."""
    entries: int | None = None
    """How many entries a listing yielded, or `count`, `clear` or `purge` returned."""
    error: type[BaseException] | None = None
    """The class of what the call raised."""

    def __init__(self, name: str, store: Store, given: list[Any]) -> None:
        self.name = name
        """The name of the method, such as "get"; "in" for `key in store`."""
        self.store = store
        self.given = given
        """What was passed as keys or prefix, which may be anything, even an unhashable object."""

    @cached_property
    def alias(self) -> str | None:
        """The store's alias in PERSIST; None for a store that is not from there."""
        return stores.alias_of(self.store)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys, or the prefix, with namespaces and without PREFIX."""
        return tuple(self._name(key) for key in self.given)

    def _name(self, key: Any) -> str:
        if not isinstance(key, str | Key):
            return f"<{type(key).__name__}>"
        return f"{self.store.keyspace.namespace}{key}"

    @property
    def template(self) -> str | None:
        """The template that the Key was made from, such as "cart:{user_id}", if all have one.

        Unlike a key it is fit to group calls by, and doesn't tell whose entry it is.
        """
        templates = {key.template if isinstance(key, Key) else None for key in self.given}
        return templates.pop() if len(templates) == 1 else None

    @property
    def is_listing(self) -> bool:
        """Whether the caller's code runs during the call: that of `keys` and `items`."""
        return self.name in LISTINGS

    @property
    def outcome(self) -> str | None:
        """Return "hit" or "miss"; "partial" if only some keys have an entry; None if unknown."""
        if self.hits is None:
            return None
        if not self.misses:
            return "hit"
        return "partial" if self.hits else "miss"


Tracer: TypeAlias = Callable[[Call], AbstractContextManager[object] | None]
"""Gets each Call as it begins, and returns a context manager that is open until it has ended.

Or it returns None to leave the call alone. A call's own exception is not passed to the context
manager, which can't swallow it: see `Call.error`. An exception of the tracer is logged, and doesn't
change the call. A listing begins when it is first iterated over, and its context manager stays open
while the caller's code runs, so it must not change a context variable then.
"""

_tracers: tuple[Tracer, ...] = ()
_originals: dict[str, Callable[..., Any]] = {}
_lock = Lock()


def add_tracer(tracer: Tracer) -> None:
    """Trace the calls of all stores of this process with `tracer`, from now on.

    A tracer that was added before is not added again.
    """
    global _tracers
    with _lock:
        if tracer in _tracers:
            return
        _tracers = (*_tracers, tracer)
        if not _originals:
            for name in METHODS:
                _originals[name] = getattr(Store, name)
                setattr(Store, name, _traced(name, _originals[name]))


def remove_tracer(tracer: Tracer) -> None:
    """Stop tracing with `tracer`, from the next call on. Does nothing if it was not added."""
    global _tracers
    with _lock:
        _tracers = tuple(each for each in _tracers if each != tracer)
        if not _tracers:
            for name, original in _originals.items():
                setattr(Store, name, original)
            _originals.clear()


def _traced(method: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of Store that also reports its calls to the tracers."""
    name = "in" if method == "__contains__" else method
    first = list(signature(original).parameters)[1]
    has_keys, takes_default = first in ("key", "keys", "mapping", "prefix"), name in ("get", "pop")

    @wraps(original)
    def traced(store: Store, *args: Any, **kwargs: Any) -> Any:
        # Invalid arguments are passed on as they are. The method itself refuses them.
        given: list[Any] = []
        if has_keys and (args or first in kwargs):
            keys = args[0] if args else kwargs[first]
            given = _listed(keys) if first in ("keys", "mapping") else [keys]
            if isinstance(keys, Iterator) and args:
                args = (given, *args[1:])
            elif isinstance(keys, Iterator):
                kwargs[first] = given
        default = None
        if takes_default:
            if len(args) > 1:
                default, args = args[1], (args[0], _ABSENT, *args[2:])
            else:
                default, kwargs["default"] = kwargs.get("default"), _ABSENT
        call = Call(name, store, given)
        if name in LISTINGS:
            return _traced_listing(call, lambda: original(store, *args, **kwargs))
        opened: list[AbstractContextManager[object]] = []
        started = perf_counter()
        try:
            _begin(call, opened)
            started = perf_counter()
            result = original(store, *args, **kwargs)
            call.seconds = perf_counter() - started
            _count(call, result)
        except BaseException as error:
            call.seconds = perf_counter() - started
            call.error = type(error)
            raise
        finally:
            _end(opened)
        return default if result is _ABSENT else result

    return traced


def _traced_listing(call: Call, start: Callable[[], Iterator[T]]) -> Iterator[T]:
    """Return a listing that also reports its iteration. Raises what the call itself raises."""
    try:
        listing = start()
    except BaseException as error:
        opened: list[AbstractContextManager[object]] = []
        try:
            _begin(call, opened)
            call.error = type(error)
        finally:
            _end(opened)
        raise
    return _iterated(call, listing)


def _iterated(call: Call, listing: Iterator[T]) -> Iterator[T]:
    call.entries = 0
    opened: list[AbstractContextManager[object]] = []
    try:
        _begin(call, opened)
        while True:
            started = perf_counter()
            try:
                entry = next(listing)
            except StopIteration:
                return
            except BaseException as error:
                call.error = type(error)
                raise
            finally:
                call.seconds += perf_counter() - started
            call.entries += 1
            yield entry
    finally:
        _end(opened)


def _listed(keys: Any) -> list[Any]:
    """Return what was passed as many keys, or as a mapping of them, as a list of keys."""
    if isinstance(keys, str | Key) or not isinstance(keys, Iterable):
        return [keys]
    return list(keys)


def _count(call: Call, result: Any) -> None:
    """Note the hits and misses of a call that has returned, or the number of its entries."""
    asked: Iterable[Hashable] = call.given
    match call.name:
        case "get" | "pop":
            call.hits = int(result is not _ABSENT)
        case "get_item":
            call.hits = int(result is not None)
        case "in" | "remove" | "replace" | "touch":
            call.hits = int(result)
        case "get_or_create":
            call.hits = int(not result[1])
        case "get_many" | "create_many":
            call.hits = len(result)
        case "remove_many":
            call.hits = result
            asked = map(str, call.given)  # "a" and Key("a") are one entry.
        case "count" | "clear" | "purge":
            call.entries = result
            return
        case _:
            return
    call.misses = len(set(asked)) - call.hits


def _begin(call: Call, opened: list[AbstractContextManager[object]]) -> None:
    """Enter the tracers, and add to `opened` what `_end` has to leave."""
    for tracer in _tracers:
        try:
            manager = tracer(call)
            if manager is not None:
                manager.__enter__()
                opened.append(manager)
        except Exception as error:  # noqa: BLE001 (a tracer can raise anything)
            raise_if_from_outside(error)
            _log(error)


def _end(opened: list[AbstractContextManager[object]]) -> None:
    """Leave all tracers, also if one of them is interrupted."""
    interruption: BaseException | None = None
    while opened:
        try:
            opened.pop().__exit__(None, None, None)
        except BaseException as error:  # noqa: BLE001 (the same)
            if is_from_outside(error):
                interruption = error
            else:
                _log(error)
    if interruption is not None:
        raise interruption


def _log(error: BaseException) -> None:
    # Not `exc_info`: it would chain what the call itself has raised, which can hold a value.
    lines = traceback.format_exception(error, chain=False)
    logger.error("A tracer failed; the call went on. %s", "".join(lines).rstrip())
