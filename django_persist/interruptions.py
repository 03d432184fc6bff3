"""Tells an exception that comes from outside a call from one that the call itself caused.

A signal handler's exception (Celery's SoftTimeLimitExceeded), or one thrown into the thread, can
arrive anywhere. It must end the call, and not be taken for an error of a value or of a database.
"""

from __future__ import annotations

import dis
import signal
from collections.abc import Iterator
from functools import partial
from types import CodeType
from typing import Any, Final

import msgspec

RAISING: Final = {dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"]}

RAISED_BY_C: Final = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError),
    *(LookupError, MemoryError, NameError, OSError, RuntimeError, StopIteration, SyntaxError),
    *(TypeError, ValueError),
)
"""What Python's and the libraries' C code raises; theirs of their own are derived from these."""


def raise_if_from_outside(error: BaseException) -> None:
    """Raise the exception again if it came from outside."""
    if is_from_outside(error):
        raise error


def raise_interruption(
    error: BaseException,
    handled: BaseException | None,
    library_error: type[BaseException],
) -> None:
    """Raise what came from outside if a library has turned it into `error`, or into its cause.

    A signal handler often raises TimeoutError, which clients take for one of their socket's.
    `handled` is what the caller was handling before the call: it says nothing about the call.
    """
    seen = {id(handled)}
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if not isinstance(each, library_error):
            raise_if_from_outside(each)
        left += (each.__context__, each.__cause__)


def is_from_outside(error: BaseException) -> bool:
    """Return whether no code that was called has raised the exception."""
    if not isinstance(error, Exception):
        return True
    trace = error.__traceback__
    if isinstance(error, msgspec.MsgspecError) or trace is None:
        return False
    handlers = set(_signal_handlers())
    while trace.tb_next is not None:
        trace = trace.tb_next
        if trace.tb_frame.f_code in handlers:
            return True
    # A thrown exception arrives between two instructions. One that a function raises has its own.
    is_raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] in RAISING
    return not is_raised and not isinstance(error, RAISED_BY_C)


def _signal_handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        function = getattr(handler, "__func__", handler)
        if not hasattr(function, "__code__"):
            function = vars(type(function)).get("__call__")
        code = getattr(function, "__code__", None)
        if code is not None:
            yield code
