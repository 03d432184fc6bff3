"""Tells what comes from outside a call from what its values' own code raises.

A class can raise anything when it is made, compared or encoded, and the codec then refuses the
value. But a signal handler's exception (Celery's SoftTimeLimitExceeded), or one thrown into the
thread, arrives in the same places. It must end the call, not become a refusal.
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
    *(ArithmeticError, AssertionError, AttributeError, BufferError, ImportError, LookupError),
    *(MemoryError, NameError, RuntimeError, StopIteration, SyntaxError, TypeError, ValueError),
)
"""What Python's and the libraries' C code raises; theirs of their own are derived from these."""


def raise_if_from_outside(error: Exception) -> None:
    """Raise the exception again unless the code that was called has raised it."""
    if isinstance(error, msgspec.MsgspecError):
        return
    trace = error.__traceback__
    assert trace is not None
    handlers = set(_signal_handlers())
    while trace.tb_next is not None:
        trace = trace.tb_next
        if trace.tb_frame.f_code in handlers:
            raise error
    # A thrown exception arrives between two instructions. One that a function raises has its own.
    code = trace.tb_frame.f_code
    if code.co_code[trace.tb_lasti] not in RAISING and not isinstance(error, RAISED_BY_C):
        raise error


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
