"""Interrupt a call at each moment at which Python can: at the first, then at the second, and so on.

What a signal handler raises, or another thread throws in, arrives where the interpreter looks for
it: when a function begins, after a call, and when a loop goes round. Here each of these moments is
tried once, instead of some of them at random. Threads switch at the same moments.
"""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FrameType
from typing import Any, TypeVar

R = TypeVar("R")

CHECKPOINTS = ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")
"""The instructions after which CPython looks for signals and asynchronous exceptions."""


class Interruption(BaseException):
    """What arrives from outside."""


class LimitError(Exception):
    """What Celery's soft time limit is: an Exception, though it comes from outside."""


@cache
def _instructions(code: CodeType) -> dict[int, tuple[str, int | None]]:
    """Return the name of each instruction, and the offset of the handler of what it raises."""
    bytecode = dis.Bytecode(code)
    entries: list[Any] = vars(bytecode)["exception_entries"]
    return {
        each.offset: (
            each.opname,
            next((e.target for e in entries if e.start <= each.offset < e.end), None),
        )
        for each in bytecode
    }


def _tracer(files: tuple[str, ...], at_each: Callable[[], object]) -> Callable[..., Any]:
    """Return a trace function that calls `at_each` at each moment in code of `files`."""
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.endswith(files):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            instructions = _instructions(frame.f_code)
            name, handler = instructions[last.get(frame, 0)]
            last[frame] = frame.f_lasti
            # The exception belongs to the instruction before: it has to be handled as that one's.
            if name in CHECKPOINTS and handler == instructions[frame.f_lasti][1]:
                at_each()
        return trace

    return trace


def _at(moment: int, act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that, called for the time numbered `moment`, stops tracing, and acts."""
    left = moment

    def at_each() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.settrace(None)
            act()

    return at_each


def _number_of(call: Callable[[], object], files: tuple[str, ...]) -> int:
    """Run `call`; return how many moments it has in code of `files`."""
    moments: list[None] = []
    before = sys.gettrace()
    sys.settrace(_tracer(files, lambda: moments.append(None)))
    try:
        call()
    finally:
        sys.settrace(before)
    return len(moments)


def interrupted_at(
    moment: int, call: Callable[[], object], files: tuple[str, ...], error: type[BaseException]
) -> bool:
    """Run `call`, raising `error` at a moment within code of `files`; return whether it was."""
    is_raised = False

    def interrupt() -> None:
        nonlocal is_raised
        is_raised = True
        signal.raise_signal(signal.SIGUSR1)

    def raise_error(signum: int, frame: Any) -> None:
        raise error

    before = sys.gettrace(), signal.signal(signal.SIGUSR1, raise_error)
    sys.settrace(_tracer(files, _at(moment, interrupt)))
    try:
        call()
    except error:
        return True
    finally:
        sys.settrace(before[0])
        signal.signal(signal.SIGUSR1, before[1])
    assert not is_raised, "The interruption was swallowed."
    return False


def switched_at(
    moment: int, call: Callable[[], R], files: tuple[str, ...], other: Callable[[], object]
) -> tuple[R, bool]:
    """Run `call`, and `other` at a moment within code of `files`, as if threads had switched there.

    Return what `call` returns, and whether there was such a moment.
    """
    is_switched = False

    def switch() -> None:
        nonlocal is_switched
        is_switched = True
        other()

    before = sys.gettrace()
    sys.settrace(_tracer(files, _at(moment, switch)))
    try:
        return call(), is_switched
    finally:
        sys.settrace(before)


def each_moment(
    make_call: Callable[[], Callable[[], object]],
    files: tuple[str, ...],
    error: type[BaseException] = Interruption,
) -> Iterator[int]:
    """Interrupt a fresh call at its first moment, the second, ...; yield after each.

    Once caches are full, calls have fewer moments than the first ones had: then it begins again.
    """
    while True:
        interrupted = 0
        while interrupted_at(interrupted + 1, make_call(), files, error):
            interrupted += 1
            yield interrupted
        if interrupted <= _number_of(make_call(), files):
            return
