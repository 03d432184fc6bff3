"""The calls that read, compute and write as one atomic step, over a driver's compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Never, Protocol, TypeVar, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from . import codec
from .arguments import MISSING, AnyKey, Arguments, key_name, type_asked
from .backoff import attempts
from .drivers.base import COUNTER, LEAST, MOST
from .exceptions import ContentionError, CounterRangeError, DecodeError, MissingKeyError
from .expiry import DEFAULT, KEEP, Default, ExpiresArg, Expiry, Keep
from .keys import Key

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
D = TypeVar("D")
N = TypeVarWithDefault("N", default=Never)
N_co = TypeVarWithDefault("N_co", default=Never, covariant=True)

TRIES: Final = 200
SECONDS: Final = 30.0


class Remove(Enum):
    """The type of REMOVE: what the function given to `update` returns to have the entry removed."""

    REMOVE = "REMOVE"

    def __repr__(self) -> str:
        return self.value

    @property
    def update_returns(self) -> None:
        """None, for type checkers: see Removal."""


class Removal(Protocol[N_co]):
    """What Remove is to a type checker: of a function that may return it, `update` returns None.

    A function that never does leaves `N` at Never, and `T | Never` is `T`. Overloads would do the
    same for functions with annotations; mypy makes Any of a lambda that fits more than one.
    """

    @property
    def update_returns(self) -> N_co: ...


REMOVE: Final = Remove.REMOVE


class AtomicCalls(Arguments):
    """pop, update, get_or_create and incr."""

    @overload
    def pop(
        self, key: AnyKey, default: None = None, *, as_: TypeForm[T], strict: bool = False
    ) -> T | None: ...
    @overload
    def pop(self, key: AnyKey, default: D, *, as_: TypeForm[T], strict: bool = False) -> T | D: ...
    @overload
    def pop(self, key: Key[T], default: None = None, *, strict: bool = False) -> T | None: ...
    @overload
    def pop(self, key: Key[T], default: D, *, strict: bool = False) -> T | D: ...
    @overload
    def pop(self, key: str, default: Any = None, *, strict: bool = False) -> Any: ...
    def pop(
        self, key: AnyKey, default: Any = None, *, as_: Any = None, strict: bool = False
    ) -> Any:
        """Take a value out: of any number of callers, one gets it; the others get `default`.

        The value is read, validated as for `get`, and removed if it is still what was read. So it
        is never destroyed without being handed back: one of another type stays in place.
        """
        full = self._full(key)
        for attempt in attempts(TRIES, SECONDS):
            text = self.driver.get(full, for_update=attempt > 0)
            value = self._decode(key, text, as_, strict=strict)
            if text is None or value is MISSING:
                return default
            if self.driver.remove_if(full, text):
                return value
        raise _lost("pop", key)

    # The first is for pyright, which looks at a lambda before it looks at `as_`.
    @overload
    def update(
        self,
        key: AnyKey,
        fn: Callable[[T], T],
        default: T | Callable[[], T] = ...,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T: ...
    @overload
    def update(
        self,
        key: AnyKey,
        fn: Callable[[T], T | Removal[N]],
        default: T | Callable[[], T] = ...,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T | N: ...
    @overload
    def update(
        self,
        key: Key[T],
        fn: Callable[[T], T | Removal[N]],
        default: T | Callable[[], T] = ...,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> T | N: ...
    @overload
    def update(
        self,
        key: str,
        fn: Callable[[Any], Any],
        default: Any = ...,
        *,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> Any: ...
    def update(
        self,
        key: AnyKey,
        fn: Callable[[Any], Any],
        default: Any = MISSING,
        *,
        as_: Any = None,
        expires: ExpiresArg | Default | Keep = KEEP,
    ) -> Any:
        """Read, change and write a value as one atomic step; return what a later `get` would.

        `fn` gets a fresh copy of the value, of its own to change, and returns the new one, or
        REMOVE to have the entry removed; then the call returns None. Where another writer was
        faster it runs again on what that one wrote, so it should do nothing else. `default`, a
        value or a callable, is what `fn` starts from where there is no live entry.

        Raises MissingKeyError where there is neither entry nor default; DecodeError, before `fn`
        runs, where the value isn't of the type asked for; TypeError where `fn` returns None for a
        value that was not None; EncodeError where what it returns can't be stored, or isn't of the
        type; ContentionError where it keeps losing. In all these cases nothing is written.
        """
        full, keep = self._full(key), expires is KEEP
        expiry = self._expiry(key, expires)
        as_ = type_asked(key, as_)
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, for_update=attempt > 0)
            if seen is not None:
                old = codec.decode(seen, as_, key=key)
            elif default is not MISSING:
                old = self._as_stored(key, self._encode(_made(default)), as_)
            else:
                raise MissingKeyError(key_name(key))
            was_none = old is None
            new = fn(old)
            if new is REMOVE:
                if seen is None or self.driver.remove_if(full, seen):
                    return None
                continue
            if new is None and not was_none:
                raise TypeError(
                    f"The function given to update({key_name(key)!r}) returned None: "
                    "let it return the new value, or REMOVE."
                )
            text = self._encode(new)
            result = self._as_stored(key, text, as_)
            if seen is None:
                done = self.driver.create(full, text, expiry)
            else:
                done = self.driver.replace(full, seen, text, expiry, keep=keep)
            if done:
                return result
        raise _lost("update", key)

    @overload
    def get_or_create(
        self,
        key: AnyKey,
        default: T | Callable[[], T],
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[T, bool]: ...
    @overload
    def get_or_create(
        self,
        key: Key[T],
        default: T | Callable[[], T],
        *,
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[T, bool]: ...
    @overload
    def get_or_create(
        self, key: str, default: Any, *, expires: ExpiresArg | Default = DEFAULT
    ) -> tuple[Any, bool]: ...
    def get_or_create(
        self,
        key: AnyKey,
        default: Any,
        *,
        as_: Any = None,
        expires: ExpiresArg | Default = DEFAULT,
    ) -> tuple[Any, bool]:
        """Return the value and False, or store `default` and return it and True.

        Of any number of callers one creates; the others get what it stored. `default` is a value
        or a callable, called where there is no live entry; what comes back is what a later `get`
        would return. Raises DecodeError where the value there isn't of the type asked for.
        """
        full, expiry = self._full(key), self._expiry(key, expires)
        as_ = type_asked(key, as_)
        text: bytes | None = None
        for attempt in attempts(TRIES, SECONDS):
            seen = self.driver.get(full, for_update=attempt > 0)
            if seen is not None:
                return codec.decode(seen, as_, key=key), False
            if text is None:
                text = self._encode(_made(default))
                result = self._as_stored(key, text, as_)
            if self.driver.create(full, text, expiry):
                return result, True
        raise _lost("get_or_create", key)

    def incr(self, key: AnyKey, by: int = 1, *, expires: ExpiresArg | Default = DEFAULT) -> int:
        """Add to an integer and return the sum, atomically; start at 0 (Redis: INCRBY).

        The counter is a signed integer of 64 bits. `expires` counts only for the call that starts
        the counter. In the database it joins the caller's transaction: a rollback undoes the count.
        Raises DecodeError where the value is no integer, and CounterRangeError where the sum would
        leave the range; the value is then as it was.
        """
        if type(by) is not int and (isinstance(by, bool) or not isinstance(by, int)):
            raise TypeError(f"by must be an int, not {type(by).__name__}.")
        full, expiry = self._full(key), self._expiry(key, expires)
        if not LEAST <= by <= MOST:
            raise _out_of_range(key)
        total = self.driver.incr(full, by, expiry)
        return total if total is not None else self._refused_incr(key, full, by, expiry)

    def _refused_incr(self, key: AnyKey, full: str, by: int, expiry: Expiry) -> int:
        for _ in attempts(TRIES, SECONDS):
            # The entry says why, unless another writer has changed it meanwhile.
            text = self.driver.get(full, for_update=True)
            if text is not None:
                value: int = codec.decode(text, int, key=key)
                if str(value).encode() != (text if isinstance(text, bytes) else text.encode()):
                    raise DecodeError(f"The value of {key_name(key)!r} is not a canonical integer.")
                if value not in COUNTER or value + by not in COUNTER:
                    raise _out_of_range(key)
                if by == 0:
                    return value
            total = self.driver.incr(full, by, expiry)
            if total is not None:
                return total
        raise _lost("incr", key)


def _made(default: Any) -> Any:
    return default() if callable(default) else default


def _lost(call: str, key: AnyKey) -> ContentionError:
    return ContentionError(f"{call}({key_name(key)!r}) kept losing against other writers.")


def _out_of_range(key: AnyKey) -> CounterRangeError:
    return CounterRangeError(f"The counter {key_name(key)!r} would leave the range of 64 bits.")
